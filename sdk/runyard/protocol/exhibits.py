"""What a run logged that is no number, ready to be shown: pictures, lists, tables, matrices, and lines over them."""

from dataclasses import dataclass, field
from typing import List, Optional


@dataclass(frozen=True)
class Picture:
    """A picture that was logged: a file of the run; ``path`` is "" where that is not here."""

    path: str
    size_bytes: int
    caption: str
    at: float


@dataclass(frozen=True)
class Stroke:
    """A line that is to be drawn."""

    label: str
    xs: List[float]
    ys: List[float]


@dataclass(frozen=True)
class Plot:
    """Lines of one picture. ``axis`` is the title of what they go over, no more: a column that somebody called "time"
    may count anything.
    """

    title: str
    axis: str
    strokes: List[Stroke]


@dataclass(frozen=True)
class Sheet:
    """A table as text. ``numeric``: which of its columns are numbers. ``note``: what is left out.

    ``from_end``: its last rows are those that matter, since it grows.
    """

    titles: List[str]
    rows: List[List[str]]
    numeric: List[bool]
    note: str = ""
    from_end: bool = False


HEATS = 9


@dataclass(frozen=True)
class MatrixCell:
    """How often one class was taken for another. ``heat``: which part of its row, 0 to HEATS; small ones are seen, too."""

    text: str
    heat: int
    is_right: bool


@dataclass(frozen=True)
class MatrixRow:
    """What became of a class: its cells, and which part of it was recognized."""

    label: str
    cells: List[MatrixCell]
    recall: str


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix: rows are the classes as they are, columns as what they were taken for."""

    labels: List[str]
    rows: List[MatrixRow]


@dataclass(frozen=True)
class Exhibit:
    """One of them. ``kind`` is "image", "table", ...; ``note`` says what is left out, or why nothing is shown."""

    name: str
    kind: str
    description: str
    note: str = ""
    pictures: List[Picture] = field(default_factory=list)
    plots: List[Plot] = field(default_factory=list)
    sheet: Optional[Sheet] = None
    matrix: Optional[Matrix] = None


@dataclass(frozen=True)
class Exhibits:
    """Those of a run that are looked for, by name; ``more`` are not shown."""

    shown: List[Exhibit]
    more: int
