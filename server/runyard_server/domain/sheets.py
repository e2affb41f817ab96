"""Columns of values as a table that is read, and as lines that are drawn; no larger than a page can bear."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from runyard.protocol.exhibits import Plot, Sheet, Stroke
from runyard_server.domain import figures
from runyard_server.domain.metric_curves import thinned

MOST_ROWS, MOST_COLUMNS, CELL_LETTERS = 100, 30, 200
MOST_LINES = 10  # of one picture, each with a colour of its own
MOST_CHARTS = 4  # of one table
_APART = 20  # times as high as its neighbour a line is drawn in a picture of its own
_MOST_POINTS = 1000  # of a line that goes to and fro
_COLUMNS = 240  # of the picture of any other

ROW = "row"  # what the x axis counts where no column is fit for it


def columns_of(value: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The columns of a table of one row or more, all of one length."""
    columns = {name: cells if isinstance(cells, list) else [cells] for name, cells in value.items()}
    height = max(map(len, columns.values()), default=0)
    return {name: [*cells, *[None] * (height - len(cells))] for name, cells in columns.items()}


def sheet(columns: Mapping[str, Sequence[Any]], from_end: bool = False) -> Sheet:
    """The first rows and columns of a table; ``from_end``: the last rows, of one that grows."""
    shown = dict(list(columns.items())[:MOST_COLUMNS])
    height = len(next(iter(columns.values()), ()))
    first = max(0, height - MOST_ROWS) if from_end else 0
    cells = [list(column[first : first + MOST_ROWS]) for column in shown.values()]
    which = "last" if from_end else "first"
    notes = [f"the {which} {MOST_ROWS} of {height:,} rows"] if height > MOST_ROWS else []
    notes += [f"the first {MOST_COLUMNS} of {len(columns):,} columns"] if len(columns) > MOST_COLUMNS else []
    return Sheet(
        titles=[name[:CELL_LETTERS] for name in shown],
        rows=[[cell(value) for value in row] for row in zip(*cells, strict=True)],
        numeric=[all(value is None or number(value) is not None for value in column) for column in cells],
        note=" and ".join(notes),
        from_end=from_end,
    )


def cell(value: Any) -> str:
    """A value of a table as people read it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "true" if value else "false"
    known = number(value)
    text = str(value) if known is None else figures.number(known)
    return text if len(text) <= CELL_LETTERS else text[: CELL_LETTERS - 1] + "…"


def number(value: Any) -> float | None:
    """The value as a number that can be drawn, NaN among them; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def numbers(values: Any) -> list[float] | None:
    """All of a list as numbers; None where it is no list of numbers only."""
    if not isinstance(values, list):
        return None
    found = [number(value) for value in values]
    return None if None in found else [value for value in found if value is not None]


def plots(name: str, columns: Mapping[str, Sequence[Any]], grows: bool) -> list[Plot]:
    """The numbers of a table as lines over its first column, where that rises from row to row; else over its rows.

    What is a list of things and no course of any is not drawn: a table that neither grows, rises, nor is all numbers.
    """
    found = {title: [_drawable(value) for value in column] for title, column in columns.items()}
    usable = {title: column for title, column in found.items() if _is_line(columns[title], column)}
    first = next(iter(usable), None)
    if first is None:
        return []
    over = first if len(usable) > 1 and _rises(usable[first]) else None
    if over is None and not grows and len(usable) < len(columns):
        return []
    height = len(usable[first])
    xs = usable[over] if over is not None else [float(row) for row in range(1, height + 1)]
    strokes = [_thin(title, xs, column) for title, column in usable.items() if title != over]
    axis = over[:CELL_LETTERS] if over is not None else ROW
    groups = _alike(strokes[: MOST_LINES * MOST_CHARTS])[:MOST_CHARTS]
    return [Plot(group[0].label if len(group) == 1 else name, axis, group) for group in groups]


def fewer(xs: Sequence[float], ys: Sequence[float]) -> tuple[list[float], list[float]]:
    """Points of a line that goes to and fro, evenly taken, no more than a picture needs; the last one among them."""
    stride = max(1, math.ceil(len(xs) / _MOST_POINTS))
    kept = sorted({*range(0, len(xs), stride), len(xs) - 1} if xs else ())
    return [xs[place] for place in kept], [ys[place] for place in kept]


def _drawable(value: Any) -> float:
    known = number(value)
    return math.nan if known is None else known


def _is_line(values: Sequence[Any], column: Sequence[float]) -> bool:
    return sum(map(math.isfinite, column)) > 1 and all(value is None or number(value) is not None for value in values)


def _rises(column: Sequence[float]) -> bool:
    return all(map(math.isfinite, column)) and all(one < other for one, other in zip(column, column[1:], strict=False))


def _thin(title: str, xs: Sequence[float], ys: Sequence[float]) -> Stroke:
    kept = thinned(xs, ys, range(len(xs)), ys, _COLUMNS).places
    return Stroke(title[:CELL_LETTERS], [xs[place] for place in kept], [ys[place] for place in kept])


def _alike(strokes: Sequence[Stroke]) -> list[list[Stroke]]:
    """Lines of about one height together: beside one of thousands, one of hundredths would lie on the ground."""
    groups: list[list[Stroke]] = []
    for stroke in sorted(strokes, key=_height, reverse=True):
        if groups and len(groups[-1]) < MOST_LINES and _height(groups[-1][0]) <= _APART * _height(stroke):
            groups[-1].append(stroke)
        else:
            groups.append([stroke])
    return groups


def _height(stroke: Stroke) -> float:
    return max((abs(value) for value in stroke.ys if math.isfinite(value)), default=0.0)
