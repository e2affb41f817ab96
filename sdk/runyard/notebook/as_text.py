"""A run's view as text, for terminals and for front ends that show no HTML."""

import math
from typing import List

from runyard.notebook.run_view import Curve, RunView
from runyard.notebook.scale import share
from runyard.notebook.wording import duration, number

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 40


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
