"""A run's view as HTML, in four sections that change at different times. Styles stand in the tags themselves.

Text, ground and links take the notebook's own colours, so that the cards belong to its theme, light or dark. The few
colours of our own are middle tones that stand out on white and on black; what lies under text is a veil of grey.
"""

import time
from html import escape
from typing import Dict, List, Optional

from runyard.notebook import exhibit_card
from runyard.notebook.figures import figure
from runyard.notebook.markup import MONO, QUIET, framed, link, table
from runyard.notebook.run_view import RunView
from runyard.notebook.wording import duration

_WARNING = "#9a6700"
_COLOURS = {
    "Completed": "#1a7f37",
    "Failed": "#cf222e",
    "Canceled": "#6e7781",
    "CancelRequested": _WARNING,
    "NotResponding": _WARNING,
    "Running": "#0969da",
    "Finalizing": "#0969da",
}
_WAITING = "#8250df"
_FINISHED_STAGES = {"Completed", "Failed", "Canceled"}


def sections(view: RunView, away: Optional[str] = None) -> Dict[str, str]:
    """The view's sections by name, in order: "head", "metrics", "exhibits", "log". An empty one is "".

    Args:
        away: why the run could not be looked at again since; None if it could.
    """
    return {
        "head": _head(view, away),
        "metrics": _metrics(view),
        "exhibits": exhibit_card.card(view),
        "log": _log(view),
    }


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


def _marked(stroke: str, text: str, more: str = "") -> str:
    """A line of text behind a stroke: in colour itself it could not be read on every ground."""
    return (
        '<div style="border-left:3px solid {};padding-left:8px;margin:3px 0;overflow-wrap:anywhere{}">{}</div>'.format(
            stroke, more, escape(text)
        )
    )


def _head(view: RunView, away: Optional[str]) -> str:
    until = view.ended_at or view.looked_at
    lines = [
        "<div>{} &nbsp;<b>{}</b> &nbsp;{} &nbsp;<span style='{}'>{}</span></div>".format(
            pill(view.status),
            escape(view.experiment),
            link(view.address, view.id),
            QUIET,
            escape(duration(until - view.created_at)),
        )
    ]
    if view.command:
        lines.append(
            '<div style="{};{};overflow-wrap:anywhere">{} <span style="font-family:sans-serif">on {}</span></div>'.format(
                MONO, QUIET, escape(view.command), escape(view.target)
            )
        )
    if view.tags:
        lines.append(
            '<div style="{}">{}</div>'.format(
                QUIET,
                escape(", ".join("{}: {}".format(*tag) if tag[1] else tag[0] for tag in sorted(view.tags.items()))),
            )
        )
    lines.append(_timeline(view))
    if view.waits_for and not view.error:
        lines.append("<div>{}</div>".format(escape(view.waits_for)))
    lines += [_marked(_WARNING, warning) for warning in view.warnings]
    if view.error:
        lines.append(_marked(colour("Failed"), str(view.error["message"]), ";font-weight:600"))
        if view.error.get("traceback"):
            lines.append(_pre(str(view.error["traceback"]).splitlines()[-20:]))
    lines.append(_children(view))
    if away:
        seen = time.strftime("%H:%M:%S", time.localtime(view.looked_at))
        lines.append(_marked(_WARNING, "As seen at {}. {}".format(seen, away)))
    return framed("".join(lines))


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
                colour(stage.status), "font-weight:600" if present else "", escape(stage.status), QUIET, escape(took)
            )
        )
    return '<div style="margin:6px 0">{}</div>'.format("".join(cells)) if cells else ""


def _children(view: RunView) -> str:
    if not view.children:
        return ""
    rows = [
        '<td style="text-align:left;padding:1px 12px 1px 0">{}</td><td style="text-align:left;{}">{}</td>'.format(
            pill(status), MONO, escape(name + " " + id_ if name else id_)
        )
        for id_, status, name in view.children
    ]
    more = '<div style="{}">and more</div>'.format(QUIET) if view.more.get("children") else ""
    return '<div style="margin-top:6px">Child runs</div>{}{}'.format(table(rows), more)


def _metrics(view: RunView) -> str:
    if not view.curves and not view.metrics:
        return ""
    parts = [figure(curve.name, [curve]) for curve in view.curves]
    if view.metrics:
        rows = [
            '<td style="text-align:left;padding:1px 16px 1px 0"><b>{}</b></td><td style="text-align:left">{}</td>'.format(
                escape(name), escape(value)
            )
            for name, value in view.metrics
        ]
        parts.append(table(rows))
    hidden = view.more.get("curves", 0) + view.more.get("metrics", 0)
    if hidden:
        parts.append("<div>{}</div>".format(link(view.address, "{} more metrics".format(hidden))))
    return framed("".join(parts))


def _log(view: RunView) -> str:
    if view.log is None:
        return ""
    name, lines = view.log
    return framed('<div style="{}">{}</div>{}'.format(QUIET, escape(name), _pre(lines)))


def _pre(lines: List[str]) -> str:
    # Laid out from below, so that the last line is the one in sight.
    return (
        '<div style="display:flex;flex-direction:column-reverse;max-height:260px;overflow:auto;margin:4px 0 0">'
        '<pre style="{};color:inherit;background:rgba(128,128,128,0.12);padding:6px 8px;margin:0;'
        'flex:none;overflow:visible;white-space:pre-wrap">{}</pre>'
        "</div>".format(MONO, escape("\n".join(lines)))
    )
