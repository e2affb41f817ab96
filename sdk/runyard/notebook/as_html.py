"""A run's view as HTML, in three sections that change at different times. Styles stand in the tags themselves.

Colours are fixed, on a light ground, so that the card reads the same in a dark notebook.
"""

import time
from html import escape
from typing import Dict, List, Optional

from runyard.notebook import picture
from runyard.notebook.markup import link
from runyard.notebook.run_view import RunView
from runyard.notebook.wording import duration, number

_CARD = (
    "font-family:system-ui,sans-serif;font-size:13px;line-height:1.45;color:#1f2328;background:#ffffff;"
    "border:1px solid #d0d7de;{}padding:10px 14px;max-width:880px;color-scheme:light"
)
_QUIET = "color:#57606a"
_MONO = "font-family:ui-monospace,Menlo,Consolas,monospace;font-size:12px"
_COLOURS = {
    "Completed": "#1a7f37",
    "Failed": "#cf222e",
    "Canceled": "#6e7781",
    "CancelRequested": "#9a6700",
    "NotResponding": "#9a6700",
    "Running": "#0969da",
    "Finalizing": "#0969da",
}
_WAITING = "#8250df"
_FINISHED_STAGES = {"Completed", "Failed", "Canceled"}


def sections(view: RunView, away: Optional[str] = None) -> Dict[str, str]:
    """The view's sections by name, in order: "head", "metrics", "log". An empty one is "".

    Args:
        away: why the run could not be looked at again since; None if it could.
    """
    return {"head": _head(view, away), "metrics": _metrics(view), "log": _log(view)}


def whole(view: RunView) -> str:
    """All sections in one."""
    return "".join(sections(view).values())


def colour(status: str) -> str:
    """The colour of a status."""
    return _COLOURS.get(status, _WAITING)


def pill(status: str) -> str:
    """A status on its colour."""
    return (
        '<span style="background:{};color:#ffffff;border-radius:10px;padding:1px 9px;font-weight:600">{}</span>'.format(
            colour(status), escape(status)
        )
    )


def _card(inside: str, margin: str = "margin:-1px 0 0;") -> str:
    return '<div style="{}">{}</div>'.format(_CARD.format(margin), inside)


def _head(view: RunView, away: Optional[str]) -> str:
    until = view.ended_at or view.looked_at
    lines = [
        "<div>{} &nbsp;<b>{}</b> &nbsp;{} &nbsp;<span style='{}'>{}</span></div>".format(
            pill(view.status),
            escape(view.experiment),
            link(view.address, view.id),
            _QUIET,
            escape(duration(until - view.created_at)),
        )
    ]
    if view.command:
        lines.append(
            '<div style="{};{};overflow-wrap:anywhere">{} <span style="font-family:sans-serif">on {}</span></div>'.format(
                _MONO, _QUIET, escape(view.command), escape(view.target)
            )
        )
    if view.tags:
        lines.append(
            '<div style="{}">{}</div>'.format(
                _QUIET,
                escape(", ".join("{}: {}".format(*tag) if tag[1] else tag[0] for tag in sorted(view.tags.items()))),
            )
        )
    lines.append(_timeline(view))
    if view.waits_for and not view.error:
        lines.append("<div>{}</div>".format(escape(view.waits_for)))
    for warning in view.warnings:
        lines.append('<div style="color:#9a6700">{}</div>'.format(escape(warning)))
    if view.error:
        lines.append(
            '<div style="color:#cf222e;font-weight:600;overflow-wrap:anywhere">{}</div>'.format(
                escape(str(view.error["message"]))
            )
        )
        if view.error.get("traceback"):
            lines.append(_pre(str(view.error["traceback"]).splitlines()[-20:]))
    lines.append(_children(view))
    if away:
        lines.append(
            '<div style="color:#9a6700">As seen at {}. {}</div>'.format(
                time.strftime("%H:%M:%S", time.localtime(view.looked_at)), escape(away)
            )
        )
    return _card("".join(lines), "border-radius:6px 6px 0 0;margin:0;")


def _timeline(view: RunView) -> str:
    """The stages as a row, each with the time that it took."""
    cells: List[str] = []
    for stage in view.stages:
        over = stage.status in _FINISHED_STAGES
        took = "" if over else " " + duration((stage.ended_at or view.looked_at) - stage.at)
        present = stage.ended_at is None
        cells.append(
            '<span style="border-bottom:3px solid {};padding:0 4px;margin-right:6px;{}">{}'
            '<span style="{}">{}</span></span>'.format(
                colour(stage.status), "font-weight:600" if present else "", escape(stage.status), _QUIET, escape(took)
            )
        )
    return '<div style="margin:6px 0">{}</div>'.format("".join(cells)) if cells else ""


def _children(view: RunView) -> str:
    if not view.children:
        return ""
    rows = "".join(
        '<tr><td style="text-align:left;padding:1px 12px 1px 0">{}</td><td style="text-align:left;{}">{}</td></tr>'.format(
            pill(status), _MONO, escape(name + " " + id_ if name else id_)
        )
        for id_, status, name in view.children
    )
    more = '<div style="{}">and more</div>'.format(_QUIET) if view.more.get("children") else ""
    return '<div style="margin-top:6px">Child runs</div><table style="border-collapse:collapse">{}</table>{}'.format(
        rows, more
    )


def _metrics(view: RunView) -> str:
    if not view.curves and not view.metrics:
        return ""
    parts = []
    for curve in view.curves:
        parts.append(
            '<div style="display:inline-block;margin:0 10px 6px 0"><div><b>{}</b> <span style="{}">{}</span></div>'
            '<img alt="{}" width="{}" height="{}" src="{}" style="border:1px solid #eaeef2"></div>'.format(
                escape(curve.name),
                _QUIET,
                escape(number(curve.values[-1])),
                escape("{}: {} points, last {}".format(curve.name, len(curve.values), number(curve.values[-1]))),
                picture.WIDTH,
                picture.HEIGHT,
                picture.address(curve),
            )
        )
    if view.metrics:
        rows = "".join(
            '<tr><td style="text-align:left;padding:1px 16px 1px 0"><b>{}</b></td>'
            '<td style="text-align:left">{}</td></tr>'.format(escape(name), escape(value))
            for name, value in view.metrics
        )
        parts.append('<table style="border-collapse:collapse">{}</table>'.format(rows))
    hidden = view.more.get("curves", 0) + view.more.get("metrics", 0)
    if hidden:
        parts.append("<div>{}</div>".format(link(view.address, "{} more metrics".format(hidden))))
    return _card("".join(parts))


def _log(view: RunView) -> str:
    if view.log is None:
        return ""
    name, lines = view.log
    return _card(
        '<div style="{}">{}</div>{}'.format(_QUIET, escape(name), _pre(lines)),
        "border-radius:0 0 6px 6px;margin:-1px 0 0;",
    )


def _pre(lines: List[str]) -> str:
    # Laid out from below, so that the last line is the one in sight.
    return (
        '<div style="display:flex;flex-direction:column-reverse;max-height:260px;overflow:auto;margin:4px 0 0">'
        '<pre style="{};color:#1f2328;background:#f6f8fa;padding:6px 8px;margin:0;'
        'flex:none;overflow:visible;white-space:pre-wrap">{}</pre>'
        "</div>".format(_MONO, escape("\n".join(lines)))
    )
