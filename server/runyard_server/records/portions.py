"""Long lists in parts: a database takes only so many values with one query."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

MOST = 500

Item = TypeVar("Item")


def portions(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """The items in their order, ``MOST`` at a time."""
    for start in range(0, len(items), MOST):
        yield items[start : start + MOST]
