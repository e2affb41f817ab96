"""Draws the report as one SVG: what each measure costs, in times the floor, with the peers beside."""

import math
from dataclasses import dataclass
from xml.sax.saxutils import escape

from benchmarks.measurement import Figure, Measure
from benchmarks.report import Row, number

WIDTH = 1000
_LEFT, _RIGHT = 300, 40  # what the scale leaves free for names, in pixels
_TOP, _BOTTOM = 92, 40
_LEVEL = 14  # pixels between two names above one another
_BAND = 26  # pixels of a lane below its names
_LETTER = 6.0  # pixels that a letter of a name takes, a little too many

# Colours hold on both grounds by themselves; the ground follows the reader's.
_STYLE = """
text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 11px; fill: #24292f }
.ground { fill: #ffffff } .title { font-size: 17px; font-weight: 600 } .row { font-size: 12px; font-weight: 600 }
.quiet { fill: #6a737d } .grid { stroke: #d8dee4; stroke-width: 1 } .floor { stroke: #6a737d; stroke-width: 1.5 }
.lane { stroke: #d8dee4; stroke-width: 1 } .peer { fill: none; stroke: #57606a; stroke-width: 1.6 }
.ours { fill: #0a7d55 } .own { fill: #0a7d55; font-weight: 600 }
.target { stroke: #c4432b; stroke-width: 2 } .asked { fill: #c4432b }
@media (prefers-color-scheme: dark) {
text { fill: #d7dde4 } .ground { fill: #0d1117 } .quiet { fill: #8b949e } .grid, .lane { stroke: #2b323b }
.floor { stroke: #8b949e } .peer { stroke: #a8b1bb } .ours, .own { fill: #3fc08d }
.target { stroke: #ff8268 } .asked { fill: #ff8268 }
}
"""


@dataclass(frozen=True)
class _Mark:
    """A figure in times the floor: 2 is twice as slow, or twice as large."""

    name: str
    times: float
    is_ours: bool


@dataclass(frozen=True)
class _Lane:
    """One measure of one row."""

    title: str
    measure: str
    floor: str
    marks: tuple[_Mark, ...]
    target: float | None


def svg(rows: list[Row], machine: dict[str, str]) -> str:
    """The picture of all measures that have a floor. Those without one are in the table alone."""
    lanes = [lane for row in rows for lane in _lanes(row)]
    if not lanes:
        return _document(_TOP, ['<text x="16" y="34">Nothing here was measured beside a floor.</text>'])
    everything = [mark.times for lane in lanes for mark in lane.marks] + [lane.target or 1.0 for lane in lanes] + [1.0]
    scale = _Scale(min(everything), max(everything))
    drawn: list[str] = []
    y = float(_TOP)
    last = ""
    for lane in lanes:
        if lane.title != last:
            y += 10
        parts, height = _drawn_lane(lane, scale, y, lane.title != last)
        drawn += parts
        y += height
        last = lane.title
    height = y + _BOTTOM
    where = ", ".join(machine[key] for key in ("processor", "memory", "date") if key in machine)
    head = [
        '<text class="title" x="16" y="30">What it costs, in times the floor</text>',
        f'<text class="quiet" x="16" y="48">Left is better. {escape(where)}. All from one run of make bench.</text>',
        *_legend(),
    ]
    return _document(height, head + _grid(scale, _TOP - 4, y + 6) + drawn)


def _lanes(row: Row) -> list[_Lane]:
    lanes = []
    for measure in row.measures:
        floor = row.figure(row.floor, measure)
        if floor is None:
            continue
        marks = tuple(
            _Mark(_short(figure.subject), _times(measure, figure, floor), outcomes is row.ours)
            for outcomes in (row.ours, row.peers)
            for figure in outcomes
            if isinstance(figure, Figure) and figure.measure == measure.name
        )
        if marks:
            lanes.append(_Lane(row.title.replace("`", ""), measure.name, floor.subject, marks, _asked(measure, floor)))
    return lanes


def _times(measure: Measure, figure: Figure, floor: Figure) -> float:
    return floor.median / figure.median if measure.more_is_better else figure.median / floor.median


def _asked(measure: Measure, floor: Figure) -> float | None:
    """The target in times the floor; the stricter one where there are two."""
    if measure.target is None:
        return None
    asked = []
    if measure.target.factor is not None:
        asked.append(1 / measure.target.factor if measure.more_is_better else measure.target.factor)
    if measure.target.bound is not None:
        bound = measure.target.bound
        asked.append(floor.median / bound if measure.more_is_better else bound / floor.median)
    return min(asked, default=None)


def _short(subject: str) -> str:
    """``runyard, SQLite`` without a word that every such name shares, a peer without its version."""
    name = subject.removeprefix("runyard, ")
    first, _, version = name.rpartition(" ")
    return first.rstrip(",") if first and version[:1].isdigit() and "." in version else name


class _Scale:
    """A logarithmic axis of whole powers of ten."""

    def __init__(self, least: float, most: float) -> None:
        self.low = math.floor(math.log10(least))
        self.high = max(self.low + 1, math.ceil(math.log10(most)))

    def x(self, times: float) -> float:
        part = (math.log10(times) - self.low) / (self.high - self.low)
        return _LEFT + part * (WIDTH - _LEFT - _RIGHT)


def _drawn_lane(lane: _Lane, scale: _Scale, top: float, is_first: bool) -> tuple[list[str], float]:
    """The elements of one lane and its height. Names go up a level until none covers another."""
    levels: list[float] = []  # where the last name of each level ends
    names = []
    for mark in sorted(lane.marks, key=lambda mark: mark.times):
        text = f"{mark.name} {number(mark.times)}×"
        half = len(text) * _LETTER / 2
        middle = min(max(scale.x(mark.times), _LEFT + half), WIDTH - 8 - half)
        level = next((i for i, end in enumerate(levels) if end < middle - half), len(levels))
        levels[level : level + 1] = [middle + half + 6]
        names.append((mark, text, middle, level))
    title_height = 16 if is_first else 0
    y = top + title_height + len(levels) * _LEVEL + 8
    parts = []
    if is_first:
        parts.append(f'<text class="row" x="16" y="{top + 12:.0f}">{escape(lane.title)}</text>')
    parts += [
        f'<text x="28" y="{y:.0f}">{escape(lane.measure)}</text>',
        f'<text class="quiet" x="28" y="{y + 13:.0f}">floor: {escape(lane.floor)}</text>',
        f'<line class="lane" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>',
    ]
    if lane.target is not None:
        x = scale.x(lane.target)
        parts.append(f'<line class="target" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 7:.1f}" y2="{y + 7:.1f}"/>')
    for mark, text, middle, level in names:
        x = scale.x(mark.times)
        kind, radius = ("ours", 5.5) if mark.is_ours else ("peer", 4)
        parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>')
        own = ' class="own"' if mark.is_ours else ""
        parts.append(
            f'<text{own} text-anchor="middle" x="{middle:.1f}" y="{y - 10 - level * _LEVEL:.1f}">{escape(text)}</text>'
        )
    return parts, y - top + _BAND


def _grid(scale: _Scale, top: float, bottom: float) -> list[str]:
    parts = []
    for power in range(scale.low, scale.high + 1):
        x = scale.x(10.0**power)
        kind = "floor" if power == 0 else "grid"
        label = "floor" if power == 0 else f"{10.0**power:,g}×" if power < 6 else f"10^{power}×"
        parts.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom:.1f}"/>')
        parts.append(f'<text class="quiet" text-anchor="middle" x="{x:.1f}" y="{top - 6}">{label}</text>')
        parts.append(f'<text class="quiet" text-anchor="middle" x="{x:.1f}" y="{bottom + 16:.1f}">{label}</text>')
    return parts


def _legend() -> list[str]:
    return [
        '<circle class="ours" cx="706" cy="26" r="5.5"/><text x="716" y="30">runyard</text>',
        '<circle class="peer" cx="782" cy="26" r="4"/><text x="792" y="30">a peer</text>',
        '<line class="target" x1="848" x2="848" y1="19" y2="33"/><text class="asked" x="856" y="30">asked of runyard</text>',
    ]


def _document(height: float, parts: list[str]) -> str:
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        'aria-label="Each measure of runyard and its peers in times the floor">',
        f"<style>{_STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{height:.0f}" rx="6"/>',
        *parts,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"
