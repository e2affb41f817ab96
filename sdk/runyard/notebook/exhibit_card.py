"""What a run logged that is no number, as HTML: pictures, tables, matrices and lines, small as in ``run_view``."""

from html import escape
from typing import List

from runyard.notebook.figures import figure
from runyard.notebook.images import newest
from runyard.notebook.markup import MONO, QUIET, framed, link, table
from runyard.notebook.run_view import Curve, RunView, fitting
from runyard.protocol.exhibits import HEATS, Exhibit, Matrix, MatrixCell, Picture, Plot, Sheet

MOST_ROWS, MOST_COLUMNS = 8, 8
MOST_PLOTS = 2
MOST_NUMBERED = 12  # classes of a matrix; of more the cells have no numbers
_CELL = "text-align:{};padding:1px 12px 1px 0;white-space:nowrap"
_SMALL = "{};font-size:11px".format(QUIET)
_VEIL = "rgba(47,129,247,{:.2f})"  # under text on any ground
_MOST_VEILED = 0.45
_RIGHT = "outline:1px solid rgba(128,128,128,0.8);outline-offset:-1px"


def card(view: RunView) -> str:
    """All that are shown, in one frame; "" where there are none."""
    if not view.exhibits:
        return ""
    parts = [_exhibit(exhibit, view) for exhibit in view.exhibits]
    if view.more.get("exhibits"):
        parts.append(
            "<div>{}</div>".format(link(view.address, "{} more pictures and tables".format(view.more["exhibits"])))
        )
    return framed("".join(parts))


def _exhibit(exhibit: Exhibit, view: RunView) -> str:
    note = escape(exhibit.note)
    has_more = len(exhibit.pictures) > len(newest(exhibit)) or len(exhibit.plots) > MOST_PLOTS
    parts = [
        '<div><b>{}</b> <span style="{}">{}</span></div>'.format(escape(exhibit.name), QUIET, escape(exhibit.kind))
    ]
    if exhibit.description:
        parts.append('<div style="{}">{}</div>'.format(_SMALL, escape(exhibit.description)))
    parts += [_picture(exhibit.name, picture, view) for picture in newest(exhibit)]
    parts += [_plot(plot, exhibit.name) for plot in exhibit.plots[:MOST_PLOTS]]
    if exhibit.sheet is not None:
        small, cut = fitting(exhibit.sheet, MOST_ROWS, MOST_COLUMNS)
        parts.append(_table(small))
        note, has_more = (escape(cut), True) if cut else (note, has_more)
    if exhibit.matrix is not None:
        parts.append(_matrix(exhibit.matrix))
    said = [note] if note else []
    said += [link(view.address, "more on the run's page")] if has_more else []
    if said:
        parts.append('<div style="{}">{}</div>'.format(_SMALL, "; ".join(said)))
    return '<div style="margin:0 0 10px">{}</div>'.format("".join(parts))


def _picture(name: str, picture: Picture, view: RunView) -> str:
    address = view.images.get(picture.path)
    if address:
        drawn = '<img alt="{}" src="{}" style="max-width:250px;max-height:200px;margin:0">'.format(
            escape("{}, {}".format(name, picture.caption)), address
        )
    else:
        drawn = link(view.address, picture.path) if picture.path else "its file is not here"
    return '<div style="display:inline-block;vertical-align:top;margin:2px 12px 4px 0">{}<div style="{}">{}</div></div>'.format(
        drawn, _SMALL, escape(picture.caption)
    )


def _plot(plot: Plot, name: str) -> str:
    return figure(
        plot.title if plot.title != name else "", [Curve(stroke.label, stroke.xs, stroke.ys) for stroke in plot.strokes]
    )


def _table(sheet: Sheet) -> str:
    sides = ["right" if numeric else "left" for numeric in sheet.numeric]
    head = "".join(
        '<th style="{};font-weight:600">{}</th>'.format(_CELL.format(side), escape(title))
        for side, title in zip(sides, sheet.titles)
    )
    rows = [
        "".join('<td style="{}">{}</td>'.format(_CELL.format(side), escape(cell)) for side, cell in zip(sides, row))
        for row in sheet.rows
    ]
    return '<div style="display:inline-block;vertical-align:top;max-width:100%;overflow:auto">{}</div>'.format(
        table([head] + rows, MONO)
    )


def _matrix(matrix: Matrix) -> str:
    """Rows: what it was. Columns: what it was taken for. What is right has a frame."""
    numbered = len(matrix.labels) <= MOST_NUMBERED
    rows: List[str] = []
    if numbered:
        titles = "".join(
            '<th style="padding:2px 6px;text-align:center">{}</th>'.format(escape(label)) for label in matrix.labels
        )
        rows.append("<td></td>{}".format(titles))
    for row in matrix.rows:
        rows.append(
            '<th style="text-align:right;padding:0 8px 0 0;white-space:nowrap">{}</th>{}'
            '<td style="{};padding:0 0 0 8px">{}</td>'.format(
                escape(row.label), "".join(_cell(cell, numbered) for cell in row.cells), QUIET, escape(row.recall)
            )
        )
    return (
        '<div style="max-width:100%;overflow:auto"><div style="{}">rows: what it was; columns: what it was taken for</div>'
        "{}</div>".format(_SMALL, table(rows, MONO))
    )


def _cell(cell: MatrixCell, numbered: bool) -> str:
    styles = ["background:" + _VEIL.format(_MOST_VEILED * min(cell.heat, HEATS) / HEATS)] if cell.heat > 0 else []
    styles += [_RIGHT] if cell.is_right else []
    if not numbered:
        styles += ["width:10px", "height:10px", "padding:0"]
        return '<td title="{}" style="{}"></td>'.format(escape(cell.text), ";".join(styles))
    return '<td style="{}">{}</td>'.format(
        ";".join(styles + ["padding:2px 6px", "text-align:center"]), escape(cell.text)
    )
