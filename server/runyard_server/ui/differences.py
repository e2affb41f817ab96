"""What differs between two texts or two lists of packages."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MOST_LINES = 5000  # of each text: comparing takes a time that grows with their product
_AROUND = 3


@dataclass(frozen=True)
class Line:
    """A line of a comparison. ``mark`` is "same", "added", "removed" or "place"."""

    mark: str
    text: str


def lines(before: str, after: str) -> list[Line] | None:
    """The changed lines, each with a few around it; None where the texts are too long to compare."""
    old, new = before.splitlines(), after.splitlines()
    if len(old) > MOST_LINES or len(new) > MOST_LINES:
        return None
    found = []
    for line in list(difflib.unified_diff(old, new, n=_AROUND, lineterm=""))[2:]:
        mark = {"+": "added", "-": "removed", "@": "place"}.get(line[:1], "same")
        found.append(Line(mark, line if mark == "place" else line[1:]))
    return found


@dataclass(frozen=True)
class Pair:
    """A package in two environments; "" where one has none."""

    name: str
    here: str
    there: str

    @property
    def differs(self) -> bool:
        return self.here != self.there


def pairs(here: Mapping[str, str], there: Mapping[str, str]) -> Sequence[Pair]:
    """Every package of the two, by name."""
    names = sorted({*here, *there}, key=str.lower)
    return [Pair(name, here.get(name, ""), there.get(name, "")) for name in names]
