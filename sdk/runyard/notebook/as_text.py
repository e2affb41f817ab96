"""A run's view as text, for terminals and for front ends that show no HTML."""

import math
from typing import List

from runyard.notebook.images import newest
from runyard.notebook.run_view import Curve, RunView, fitting
from runyard.notebook.scale import share
from runyard.notebook.wording import duration, number
from runyard.protocol.exhibits import Exhibit, Matrix

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 40
_MOST_ROWS, _MOST_COLUMNS = 5, 6  # of a table
_MOST_CLASSES = 12  # of a matrix


def text(view: RunView) -> str:
    """The whole view."""
    until = view.ended_at or view.looked_at
    lines = ["{} {}: {}, {}".format(view.experiment, view.id, view.status, duration(until - view.created_at))]
    if view.command:
        lines.append("  {} on {}".format(view.command, view.target))
    stages = [
        stage.status if stage.ended_at is None else "{} {}".format(stage.status, duration(stage.ended_at - stage.at))
        for stage in view.stages
    ]
    if stages:
        lines.append("  " + " > ".join(stages))
    if view.error:
        lines.append("  " + str(view.error["message"]))
        lines += ["    " + line for line in str(view.error.get("traceback") or "").splitlines()[-20:]]
    elif view.waits_for:
        lines.append("  " + view.waits_for)
    lines += ["  " + warning for warning in view.warnings]
    lines += ["  {:<20} {} {}".format(curve.name, bars(curve), number(curve.values[-1])) for curve in view.curves]
    lines += ["  {:<20} {}".format(name, value) for name, value in view.metrics]
    lines += ["  " + line for exhibit in view.exhibits for line in _exhibit(exhibit)]
    lines += ["  child {} {} {}".format(*child).rstrip() for child in view.children]
    if view.log is not None:
        lines.append("  {}:".format(view.log[0]))
        lines += ["    " + line for line in view.log[1][-10:]]
    lines.append("  Web View: " + view.address)
    return "\n".join(lines)


def bars(curve: Curve) -> str:
    """A curve as a row of bars, one per place; a blank where there is no finite number."""
    step = max(1.0, len(curve.values) / _WIDTH)
    chosen = [curve.values[min(len(curve.values) - 1, int(at * step))] for at in range(min(_WIDTH, len(curve.values)))]
    finite = [value for value in chosen if math.isfinite(value)]
    if not finite:
        return " " * len(chosen)
    least, greatest = min(finite), max(finite)
    found: List[str] = []
    for value in chosen:
        if not math.isfinite(value):
            found.append(" ")
        else:
            found.append(_BARS[min(len(_BARS) - 1, int(share(value, least, greatest) * len(_BARS)))])
    return "".join(found)


def _exhibit(exhibit: Exhibit) -> List[str]:
    """A picture by its file's name, a table or a matrix in columns, lines as bars."""
    note = exhibit.note
    lines = ["  {}: {}".format(picture.caption, picture.path or "its file is not here") for picture in newest(exhibit)]
    for plot in exhibit.plots:
        for stroke in plot.strokes:
            if stroke.ys:
                lines.append(
                    "  {:<18} {} {}".format(
                        stroke.label, bars(Curve(stroke.label, stroke.xs, stroke.ys)), number(stroke.ys[-1])
                    )
                )
    if exhibit.sheet is not None:
        small, cut = fitting(exhibit.sheet, _MOST_ROWS, _MOST_COLUMNS)
        lines += _columns([small.titles] + small.rows, small.numeric)
        note = "{}; more on the run's page".format(cut) if cut else note
    if exhibit.matrix is not None:
        if len(exhibit.matrix.labels) <= _MOST_CLASSES:
            lines += _matrix(exhibit.matrix)
        else:
            note = "; ".join([said for said in (note, "drawn on the run's page") if said])
    head = "{} ({})".format(exhibit.name, exhibit.kind)
    return [head + (": " + note if note else "")] + lines


def _matrix(matrix: Matrix) -> List[str]:
    """Rows: what it was. Columns: what it was taken for."""
    rows = [[row.label] + [cell.text for cell in row.cells] + [row.recall] for row in matrix.rows]
    return _columns([[""] + matrix.labels + ["found"]] + rows, [False] + [True] * (len(matrix.labels) + 1))


def _columns(rows: List[List[str]], numeric: List[bool]) -> List[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(numeric))]
    return [
        "  "
        + "  ".join(
            cell.rjust(width) if right else cell.ljust(width) for cell, width, right in zip(row, widths, numeric)
        ).rstrip()
        for row in rows
    ]
