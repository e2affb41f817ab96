"""Azure's documents (confusion matrix, accuracy table, residuals, predictions) as heat maps, tables and lines."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from runyard.protocol.exhibits import HEATS, Matrix, MatrixCell, MatrixRow, Plot, Sheet, Stroke
from runyard_server.domain import figures
from runyard_server.domain.sheets import MOST_LINES, cell, fewer, number, numbers, sheet

MOST_CLASSES = 25  # of a matrix
MOST_CELLS = 2_000_000  # of one that is looked at
_LABEL_LETTERS = 40
_MOST_BINS = 2000


class UnlikeAzures(Exception):
    """A document that has not Azure's shape; the message says what it lacks."""


@dataclass(frozen=True)
class Shown:
    """What a document is drawn as. ``note``: what is left out, or what it says in one figure."""

    note: str = ""
    plots: list[Plot] = field(default_factory=list)
    sheet: Sheet | None = None
    matrix: Matrix | None = None


def confusion_matrix(data: Any) -> Shown:
    """The matrix; of many classes those that were mistaken most.

    Raises:
        UnlikeAzures: ``class_labels`` and ``matrix`` are not those of a square of numbers.
    """
    names = _labels(data)
    matrix = data.get("matrix")
    if not isinstance(matrix, list) or len(matrix) != len(names):
        raise UnlikeAzures("'matrix' has not one row for each of 'class_labels'")
    if len(names) ** 2 > MOST_CELLS:
        raise UnlikeAzures(f"a matrix of {len(names):,} classes is too large to be looked at here")
    rows = [numbers(row) for row in matrix]
    counts = [row for row in rows if row is not None and len(row) == len(names)]
    if len(counts) < len(rows):
        raise UnlikeAzures("'matrix' has a row that is not one number for each of 'class_labels'")
    shown = list(range(len(names)))
    notes = [_accuracy(counts)]
    if len(names) > MOST_CLASSES:
        wrong = [sum(abs(count) for place, count in enumerate(row) if place != at) for at, row in enumerate(counts)]
        for row_at, row in enumerate(counts):
            for at, count in enumerate(row):
                wrong[at] += abs(count) if at != row_at else 0
        shown = sorted(sorted(shown, key=lambda at: -wrong[at])[:MOST_CLASSES])
        notes.append(f"the {MOST_CLASSES} of {len(names):,} classes that were mistaken most")
    return Shown(
        note=", ".join(note for note in notes if note),
        matrix=Matrix([names[at] for at in shown], [_matrix_row(names[at], counts[at], at, shown) for at in shown]),
    )


def _matrix_row(label: str, counts: Sequence[float], at: int, shown: Sequence[int]) -> MatrixRow:
    whole = sum(map(abs, counts))
    shares = [abs(count) / whole if whole and math.isfinite(whole) else 0.0 for count in counts]
    cells = [MatrixCell(figures.number(counts[to]), math.ceil(math.sqrt(shares[to]) * HEATS), to == at) for to in shown]
    return MatrixRow(label, cells, f"{figures.number(round(100 * shares[at], 1))} %" if whole else "–")


def _accuracy(counts: Sequence[Sequence[float]]) -> str:
    whole = sum(map(sum, counts))
    right = sum(row[at] for at, row in enumerate(counts))
    return f"{figures.number(round(100 * right / whole, 2))} % right" if 0 < whole < math.inf else ""


def residuals(data: Any) -> Shown:
    """A histogram of what the predictions missed by.

    Raises:
        UnlikeAzures: not ``bin_edges``, and one number less in ``bin_counts`` (or ``residual_counts``).
    """
    edges, counts = _numbers(data, "bin_edges"), _numbers(data, "bin_counts", "residual_counts")
    if len(edges) != len(counts) + 1:
        raise UnlikeAzures("'bin_edges' are not one more than 'bin_counts'")
    xs, ys = [edges[0]], [0.0]
    for first, last, count in zip(edges, edges[1:], counts, strict=False):
        xs += [first, last]
        ys += [count, count]
    known = [("mean", data.get("mean")), ("deviation", data.get("std", data.get("standard_deviation")))]
    said = [f"{name} {cell(value)}" for name, value in known if number(value) is not None]
    table = sheet({"from": edges[:-1], "to": edges[1:], "count": counts})
    return Shown(", ".join(said), [Plot("residuals", "residual", [Stroke("count", [*xs, xs[-1]], [*ys, 0.0])])], table)


def predictions(data: Any) -> Shown:
    """What was predicted on average over the true values, beside what a perfect model would say.

    Raises:
        UnlikeAzures: not ``bin_averages``, and a ``bin_edges`` more.
    """
    edges, averages = _numbers(data, "bin_edges"), _numbers(data, "bin_averages")
    if len(edges) != len(averages) + 1:
        raise UnlikeAzures("'bin_edges' are not one more than 'bin_averages'")
    middles = [(first + last) / 2 for first, last in zip(edges, edges[1:], strict=False)]
    strokes = [Stroke("predicted", middles, averages), Stroke("ideal", [edges[0], edges[-1]], [edges[0], edges[-1]])]
    columns: dict[str, Sequence[Any]] = {"from": edges[:-1], "to": edges[1:], "predicted": averages}
    errors, counts = (numbers(data.get(key)) for key in ("bin_errors", "bin_counts"))
    if errors is not None and len(errors) == len(averages):
        columns["error"] = errors
        pairs = list(zip(averages, errors, strict=True))
        strokes += [
            Stroke("predicted + error", middles, [average + error for average, error in pairs]),
            Stroke("predicted − error", middles, [average - error for average, error in pairs]),
        ]
    if counts is not None and len(counts) == len(averages):
        columns["count"] = counts
    return Shown(plots=[Plot("predictions", "true value", strokes)], sheet=sheet(columns))


def accuracy_table(data: Any) -> Shown:
    """Each class against all others: what is found of it for how many false alarms, and with what precision.

    Raises:
        UnlikeAzures: ``probability_tables`` has not, for each of ``class_labels``, rows of four counts: true positives,
            false positives, true negatives, false negatives.
    """
    names = _labels(data)
    tables = data.get("probability_tables")
    if not isinstance(tables, list) or len(tables) != len(names):
        raise UnlikeAzures("'probability_tables' has not one table for each of 'class_labels'")
    rates = []
    for name, table in zip(names[:MOST_LINES], tables, strict=False):
        rows = [numbers(row) for row in table] if isinstance(table, list) else []
        counts = [row for row in rows if row is not None and len(row) == 4]
        if not counts or len(counts) < len(rows):
            raise UnlikeAzures("a row of 'probability_tables' is not four counts")
        rates.append((name, counts))
    roc = [_stroke(name, [(_share(fp, tn), _share(tp, fn)) for tp, fp, tn, fn in rows]) for name, rows in rates]
    precision = [_stroke(name, [(_share(tp, fn), _share(tp, fp)) for tp, fp, _, fn in rows]) for name, rows in rates]
    areas: dict[str, Sequence[Any]] = {
        "class": [name for name, _ in rates],
        "area under ROC": [_area(one) for one in roc],
    }
    note = f"the first {MOST_LINES} of {len(names):,} classes" if len(names) > MOST_LINES else ""
    pictures = [
        Plot("true positives (ROC)", "false positive rate", roc),
        Plot("precision", "recall", precision),
    ]
    return Shown(note, pictures, sheet(areas))


def _share(part: float, other: float) -> float:
    whole = part + other
    return part / whole if whole else math.nan


def _stroke(label: str, points: Sequence[tuple[float, float]]) -> Stroke:
    found = sorted((x, y) for x, y in points if math.isfinite(x) and math.isfinite(y))
    return Stroke(label, *fewer([x for x, _ in found], [y for _, y in found]))


def _area(stroke: Stroke) -> float | None:
    if not stroke.xs:
        return None
    xs, ys = [0.0, *stroke.xs, 1.0], [0.0, *stroke.ys, 1.0]
    return sum((xs[at] - xs[at - 1]) * (ys[at] + ys[at - 1]) / 2 for at in range(1, len(xs)))


def _labels(data: Any) -> list[str]:
    names = data.get("class_labels") if isinstance(data, dict) else None
    if not isinstance(names, list) or not names:
        raise UnlikeAzures("it has no 'class_labels'")
    return [str(name)[:_LABEL_LETTERS] for name in names]


def _numbers(data: Any, *keys: str) -> list[float]:
    """The list of numbers under the first of these keys that is there, of a length that is drawn."""
    found = next((numbers(data[key]) for key in keys if key in data), None) if isinstance(data, dict) else None
    if not found or not all(map(math.isfinite, found)):
        raise UnlikeAzures(f"'{keys[0]}' is no list of finite numbers")
    if len(found) > _MOST_BINS:
        raise UnlikeAzures(f"'{keys[0]}' has {len(found):,} numbers, too many for a picture")
    return found
