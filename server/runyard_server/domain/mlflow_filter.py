"""MLflow's filter grammar, read into comparisons: ``metrics.loss < 0.1 AND tags."my key" LIKE 'a%'``.

One pass over a text of bounded length; nothing of it is ever run. What the names mean is decided by who asks.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LONGEST = 20_000  # characters of a filter
MOST = 100  # comparisons in one

# The kinds of things that a filter names, by the words that MLflow takes for them.
ATTRIBUTE, METRIC, PARAMETER, TAG, DATASET = "attribute", "metric", "parameter", "tag", "dataset"
_KINDS = {
    **dict.fromkeys(("attribute", "attributes", "attr", "run"), ATTRIBUTE),
    **dict.fromkeys(("metric", "metrics"), METRIC),
    **dict.fromkeys(("parameter", "parameters", "param", "params"), PARAMETER),
    **dict.fromkeys(("tag", "tags"), TAG),
    **dict.fromkeys(("dataset", "datasets"), DATASET),
}

_SPACE = re.compile(r"\s*")
_NAME = re.compile(
    r"""(?:(?P<kind>[A-Za-z_]+)\s*\.\s*)?"""
    r"""(?:"(?P<double>[^"]*)"|`(?P<back>[^`]*)`|(?P<plain>[A-Za-z0-9_][^\s=<>!'"`(),]*))"""
)
_SIGN = re.compile(r">=|<=|!=|<>|=|>|<")
_WORD = re.compile(r"[A-Za-z]+")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)(?![\w.])")
_TEXT = re.compile(r"'((?:[^']|'')*)'|\"([^\"]*)\"")

Value = str | int | float | tuple[str, ...] | None


class FilterError(ValueError):
    """The text is none of this grammar; says where."""


@dataclass(frozen=True)
class Comparison:
    """One condition.

    Attributes:
        key: of the tag, metric or parameter; the name of an attribute.
        sign: "=", "!=", "<", "<=", ">", ">=", "LIKE", "ILIKE", "IN", "NOT IN", "IS NULL" or "IS NOT NULL".
        value: what is compared with: a text, a number, the texts of a list.
    """

    kind: str
    key: str
    sign: str
    value: Value = None


def parse(text: str | None) -> list[Comparison]:
    """The comparisons, all of which must hold.

    Raises:
        FilterError: it cannot be read.
    """
    if not text or not text.strip():
        return []
    if len(text) > LONGEST:
        raise FilterError(f"A filter has at most {LONGEST:,} characters; this has {len(text):,}.")
    return _Reader(text).comparisons()


def parse_order(text: str) -> tuple[str, str, bool]:
    """Kind, key and whether it ascends, of one part of an order such as ``metrics.loss DESC``.

    Raises:
        FilterError: it cannot be read.
    """
    reader = _Reader(text[: LONGEST + 1])
    kind, key = reader.name()
    direction = (reader.word() or "ASC").upper()
    if direction not in ("ASC", "DESC") or not reader.is_over():
        raise FilterError(f"Invalid order_by clause {text[:200]!r}. Write a name and ASC or DESC.")
    return kind, key, direction == "ASC"


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._skip()

    def comparisons(self) -> list[Comparison]:
        found = [self._comparison()]
        while not self.is_over():
            word = self.word()
            if word is None or word.upper() != "AND":
                raise self._fault("AND is what joins comparisons")
            if len(found) == MOST:
                raise FilterError(f"A filter has at most {MOST} comparisons.")
            found.append(self._comparison())
        return found

    def is_over(self) -> bool:
        return self._at == len(self._text)

    def name(self) -> tuple[str, str]:
        found = self._take(_NAME)
        if found is None:
            raise self._fault('a name is expected, such as metrics.loss or tags."my key"')
        said = found["kind"]
        key = next(part for part in (found["double"], found["back"], found["plain"]) if part is not None)
        if said is None:
            return ATTRIBUTE, key
        kind = _KINDS.get(said.lower())
        if kind is None:
            raise FilterError(
                f"Invalid entity type {said[:50]!r}. Valid values are attributes, metrics, params, tags and datasets."
            )
        return kind, key

    def word(self) -> str | None:
        found = self._take(_WORD)
        return None if found is None else found[0]

    def _comparison(self) -> Comparison:
        kind, key = self.name()
        sign = self._sign()
        if sign in ("IS NULL", "IS NOT NULL"):
            return Comparison(kind, key, sign)
        if sign in ("IN", "NOT IN"):
            return Comparison(kind, key, sign, self._list())
        return Comparison(kind, key, sign, self._value())

    def _sign(self) -> str:
        found = self._take(_SIGN)
        if found is not None:
            return "!=" if found[0] == "<>" else found[0]
        words = [self._upper()]
        if words[0] in ("LIKE", "ILIKE", "IN"):
            return words[0]
        if words[0] == "NOT" and self._upper() == "IN":
            return "NOT IN"
        if words[0] == "IS":
            second = self._upper()
            if second == "NULL":
                return "IS NULL"
            if second == "NOT" and self._upper() == "NULL":
                return "IS NOT NULL"
        raise self._fault(
            "a comparison is expected: =, !=, <, <=, >, >=, LIKE, ILIKE, IN, NOT IN, IS NULL, IS NOT NULL"
        )

    def _upper(self) -> str:
        return (self.word() or "").upper()

    def _value(self) -> str | int | float:
        text = self._take(_TEXT)
        if text is not None:
            return str(text[2]) if text[1] is None else str(text[1]).replace("''", "'")
        found = self._take(_NUMBER)
        if found is None:
            raise self._fault("a value is expected: a number, or a text in quotes")
        return float(found[0]) if set(found[0]) & set(".eE") else int(found[0])

    def _list(self) -> tuple[str, ...]:
        values: list[str] = []
        self._expect("(")
        while True:
            value = self._value()
            if not isinstance(value, str):
                raise self._fault("a list holds texts in quotes")
            values.append(value)
            if self._take(_COMMA) is None:
                break
        self._expect(")")
        return tuple(values)

    def _expect(self, sign: str) -> None:
        if not self._text.startswith(sign, self._at):
            raise self._fault(f"{sign!r} is expected")
        self._at += 1
        self._skip()

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
            self._skip()
        return found

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        assert found is not None
        self._at = found.end()

    def _fault(self, expected: str) -> FilterError:
        rest = self._text[self._at : self._at + 60]
        return FilterError(
            f"Invalid clause(s) in filter string: {expected}, at {rest!r}."
            if rest
            else f"Invalid clause(s) in filter string: {expected}, but it ends."
        )


_COMMA = re.compile(",")


# Looking at what is in memory


def holds(comparison: Comparison, values: Mapping[str, Any]) -> bool:
    """Whether a comparison holds of what has these ``values`` by key; what it lacks holds of nothing but IS NULL."""
    actual = values.get(comparison.key)
    sign, value = comparison.sign, comparison.value
    if sign in ("IS NULL", "IS NOT NULL"):
        return (actual is None) == (sign == "IS NULL")
    if actual is None:
        return False
    if sign in ("IN", "NOT IN"):
        assert isinstance(value, tuple)
        return (str(actual) in value) == (sign == "IN")
    if sign in ("LIKE", "ILIKE"):
        return is_like(str(actual), str(value), sign == "ILIKE")
    if isinstance(actual, str) or isinstance(value, str):
        actual, value = str(actual), str(value)
    return _compare(actual, sign, value)


def _compare(actual: Any, sign: str, value: Any) -> bool:
    match sign:
        case "=":
            return bool(actual == value)
        case "!=":
            return bool(actual != value)
        case "<":
            return bool(actual < value)
        case "<=":
            return bool(actual <= value)
        case ">":
            return bool(actual > value)
        case _:
            return bool(actual >= value)


def is_like(text: str, pattern: str, ignore_case: bool = False) -> bool:
    """SQL's LIKE: ``%`` is any text, ``_`` any one character. Takes at most the product of the lengths."""
    if ignore_case:
        text, pattern = text.lower(), pattern.lower()
    at = place = 0
    wild, resume = -1, 0
    while at < len(text):
        if place < len(pattern) and pattern[place] == "%":
            wild, resume = place, at
            place += 1
        elif place < len(pattern) and pattern[place] in ("_", text[at]):
            at, place = at + 1, place + 1
        elif wild >= 0:
            resume += 1
            at, place = resume, wild + 1
        else:
            return False
    return set(pattern[place:]) <= {"%"}


def ordered(items: Sequence[Any], orders: Sequence[tuple[Any, bool]]) -> list[Any]:
    """Items by several orders, the first of which counts most: each a function of an item, and whether it ascends."""
    found = list(items)
    for value, ascends in reversed(orders):
        known = [item for item in found if value(item) is not None]
        found = sorted(known, key=value, reverse=not ascends) + [item for item in found if value(item) is None]
    return found
