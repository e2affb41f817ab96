"""Searches of lists that are short enough to be sorted in memory: MLflow's filter and order over attributes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from runyard_server.api.mlflow.failures import invalid
from runyard_server.domain.mlflow_filter import (
    ATTRIBUTE,
    TAG,
    Comparison,
    FilterError,
    holds,
    ordered,
    parse,
    parse_order,
)

Item = TypeVar("Item")

Order = tuple[Callable[[Item], Any], bool]  # what of an item counts, and whether it ascends


@dataclass(frozen=True)
class Listing(Generic[Item]):
    """What some kind of thing is searched and ordered by.

    Attributes:
        attributes: what each name of an attribute stands for.
        tags: of an item.
        refused: what is said of a comparison that cannot be asked.
        wrong_order: what is said of another name in an order; ``{key}`` and ``{keys}`` are filled in.
        usual: the order where none is asked for.
        then: what counts after an order that was asked for.
        holds_of_tags: whether a comparison of tags holds.
    """

    attributes: Mapping[str, Callable[[Item], Any]]
    tags: Callable[[Item], Mapping[str, str]]
    refused: Callable[[Comparison], str]
    wrong_order: str
    usual: Sequence[Order[Item]]
    then: Sequence[Order[Item]]
    holds_of_tags: Callable[[Comparison, Mapping[str, str]], bool] = holds

    def asked(self, filter: str | None, order_by: Sequence[str] | None) -> "Asked[Item]":
        """Raises MlflowRefusal for what cannot be asked."""
        try:
            wanted = [self._checked(comparison) for comparison in parse(filter)]
            orders = [self._order(text) for text in order_by or []]
        except FilterError as fault:
            raise invalid(str(fault)) from None
        return Asked(self, wanted, [*orders, *self.then] if orders else self.usual)

    def _checked(self, comparison: Comparison) -> Comparison:
        is_known = comparison.kind == TAG or (comparison.kind == ATTRIBUTE and comparison.key in self.attributes)
        if not is_known:
            raise FilterError(self.refused(comparison))
        return comparison

    def _order(self, text: str) -> Order[Item]:
        kind, key, ascends = parse_order(text)
        if kind != ATTRIBUTE or key not in self.attributes:
            raise FilterError(self.wrong_order.format(key=key[:100], keys=", ".join(self.attributes)))
        return self.attributes[key], ascends


@dataclass(frozen=True)
class Asked(Generic[Item]):
    """One search."""

    listing: Listing[Item]
    wanted: Sequence[Comparison]
    orders: Sequence[Order[Item]]

    def of(self, items: Iterable[Item]) -> list[Item]:
        """Those that match, in order."""
        return ordered([item for item in items if self._matches(item)], self.orders)

    def exact(self, key: str) -> str | None:
        """The text that an attribute must be equal to, where the filter says so of it alone."""
        found = next((one.value for one in self.wanted if (one.kind, one.key, one.sign) == (ATTRIBUTE, key, "=")), None)
        return found if isinstance(found, str) else None

    def _matches(self, item: Item) -> bool:
        listing = self.listing
        attributes = {name: value(item) for name, value in listing.attributes.items()}
        return all(
            holds(one, attributes) if one.kind == ATTRIBUTE else listing.holds_of_tags(one, listing.tags(item))
            for one in self.wanted
        )
