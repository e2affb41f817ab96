"""What a filter says: a tree of comparisons, which cannot change any more."""

from dataclasses import dataclass
from enum import Enum

from runyard.errors import UserErrorException


class FilterError(UserErrorException):
    """A text that is no filter. ``details["column"]`` is where, counted from 1."""

    def __init__(self, text: str, place: int, problem: str) -> None:
        line = text[max(0, place - 60) : place + 60].replace("\n", " ")
        pointer = " " * min(place, 60) + "^"
        super().__init__(f"The filter is wrong at column {place + 1}: {problem}\n  {line}\n  {pointer}")
        self.problem = problem
        self.details = {"column": place + 1}


class Source(str, Enum):
    """Where a field's value is kept."""

    COLUMN = "column"  # of the run itself
    METRIC = "metric"
    TAG = "tag"
    PROPERTY = "property"
    ARGUMENT = "argument"


class Kind(str, Enum):
    """What a field's value is, and so what it is compared with."""

    TEXT = "text"
    NUMBER = "number"
    TIME = "time"  # seconds since the epoch
    DURATION = "duration"  # seconds
    ANY = "any"  # a text that may be a number: of a tag, a property, an argument


@dataclass(frozen=True)
class Field:
    """One thing that runs have.

    Attributes:
        name: of the column; key of the tag, property or argument; name of the metric.
        part: of a metric: "last", "min" or "max".
    """

    source: Source
    name: str
    kind: Kind
    part: str = "last"


@dataclass(frozen=True)
class Comparison:
    """``sign`` is one of = != < <= > >=. It does not hold for a run that has no such value."""

    field: Field
    sign: str
    value: str | float


@dataclass(frozen=True)
class Membership:
    """The value is one of these."""

    field: Field
    values: tuple[str | float, ...]


@dataclass(frozen=True)
class Pattern:
    """The value is like a pattern in which ``%`` stands for any text and ``_`` for one letter; capitals count as small."""

    field: Field
    pattern: str


@dataclass(frozen=True)
class Presence:
    """The run has such a value."""

    field: Field


@dataclass(frozen=True)
class NotANumber:
    """The metric's last value is NaN."""

    field: Field


@dataclass(frozen=True)
class Words:
    """The run's id, name, experiment, a tag or an argument contains this, whatever its capitals."""

    text: str


@dataclass(frozen=True)
class Not:
    inner: "Expression"


@dataclass(frozen=True)
class All:
    """All of them hold; none at all always does."""

    parts: tuple["Expression", ...]


@dataclass(frozen=True)
class Any:
    """One of them holds."""

    parts: tuple["Expression", ...]


Expression = Comparison | Membership | Pattern | Presence | NotANumber | Words | Not | All | Any
EVERYTHING = All(())


def conjuncts(expression: Expression) -> tuple[Expression, ...]:
    """What must hold all at once, as far as that is known without looking into alternatives."""
    return expression.parts if isinstance(expression, All) else (expression,)
