"""Line charts: curves as the geometry of an SVG picture."""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runyard_server.services.container import Services
from runyard_server.services.curves import PLACE, TIME, Curve
from runyard_server.ui import words
from runyard_server.ui.chart_settings import ChartSettings

WIDTH, HEIGHT = 360, 170
COLUMNS = 240  # of pixels, within the axes
_FEWEST_COLUMNS = 24
_MOST_IN_ALL = 6000  # columns of all lines of one picture
_MOST_LABELLED = 24  # lines; of more, a pointer is told what the picture's scale says
_TOP, _BOTTOM, _RIGHT = 10, 22, 12
_LETTER = 6.3  # width of a digit of the labels
_TICKS_Y, _TICKS_X = 4, 4


@dataclass(frozen=True)
class Tick:
    """A grid line and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """One run's curve.

    Attributes:
        run: its place among the runs of the page.
        polylines: as SVG has them ("x,y x,y"); a value that cannot be drawn breaks the line.
        smoothed: the same, smoothed; empty where nothing is to be.
        labels: of each point of the polylines, in order, where and what it is.
        last: the last value.
    """

    run: int
    polylines: list[str]
    smoothed: list[str]
    labels: list[str]
    last: str


@dataclass(frozen=True)
class Chart:
    """One metric's picture. Positions are in the picture's own units.

    Attributes:
        run_ids: those that were asked for it, in the page's order.
        axis: what the x axis counts: "step", "place", "elapsed" or "time".
        low, high: from where to where the x axis goes.
        bottom, top: the same of the y axis.
        gaps: how many of the drawn points could not be drawn: NaN, infinite, or not above 0 on a logarithmic axis.
        is_zoomed: whether this is a part of the curve only.
    """

    name: str
    run_ids: Sequence[str]
    count: int
    lines: list[Line]
    y_ticks: list[Tick]
    x_ticks: list[Tick]
    left: float
    axis: str
    low: float
    high: float
    bottom: float
    top: float
    gaps: int
    is_zoomed: bool
    log_x: bool
    log_y: bool
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def last(self) -> str:
        return self.lines[0].last if self.lines else ""


def charts(held: Services, run_ids: Sequence[str], names: Sequence[str], settings: ChartSettings) -> list[Chart]:
    """The pictures of the metrics that have two numbers or more, each with the curves of all runs that have it."""
    found = []
    together = [name for name in names if name not in settings.zooms]
    curves: dict[str, list[Curve]] = {name: [] for name in names}
    width = columns(len(run_ids))
    if together:
        for one in held.curves.of(run_ids, together, width, settings.axis):
            curves[one.name].append(one)
    for name in names:
        if name in settings.zooms:
            curves[name] = held.curves.of(run_ids, [name], width, settings.axis, *settings.zooms[name])
        if curves[name] and sum(one.count for one in curves[name]) >= 2:
            found.append(chart(name, curves[name], run_ids, settings))
    return found


def columns(runs: int) -> int:
    """Of how many columns each of so many lines in one picture is made."""
    return max(_FEWEST_COLUMNS, min(COLUMNS, _MOST_IN_ALL // max(1, runs)))


def chart(
    name: str,
    curves: Sequence[Curve],
    run_ids: Sequence[str],
    settings: ChartSettings,
    tell: Callable[[float], str] = words.number,
) -> Chart:
    """The picture of one metric's curves; ``tell`` says a value as people read it."""
    zoom = settings.zooms.get(name)
    axes = {curve.axis for curve in curves}
    axis = PLACE if PLACE in axes else next(iter(axes))
    drawn = [(x, float(value)) for curve in curves for x, value in zip(curve.xs, curve.values, strict=True)]
    seen = [(x, value) for x, value in drawn if zoom is None or zoom[0] <= x <= zoom[1]]
    fit = [(x, value) for x, value in seen if _fits(value, settings.log_y) and (x > 0 or not settings.log_x)]
    # A range with no point in it is drawn by the points beside it.
    shown = fit or [(x, value) for x, value in drawn if _fits(value, settings.log_y) and (x > 0 or not settings.log_x)]
    low, high = zoom or (min((x for x, _ in shown), default=0), max((x for x, _ in shown), default=1))
    if settings.log_x and low <= 0:
        low = min((x for x, _ in shown), default=1)
    scale = _scale([value for _, value in shown] or [1.0, 10.0], low, max(low, high), axis, settings, tell)
    places = {run_id: place for place, run_id in enumerate(run_ids)}
    lines = []
    for curve in curves:
        points = [(scale.x(x), scale.y(float(value))) for x, value in zip(curve.xs, curve.values, strict=True)]
        labels = [
            f"{_label(x, axis)}|{tell(float(value))}"
            for (x, value), point in zip(zip(curve.xs, curve.values, strict=True), points, strict=True)
            if all(map(math.isfinite, point))
        ]
        smoothed = _smoothed(curve.middles, settings.smooth) if settings.smooth else []
        lines.append(
            Line(
                run=places[curve.run_id],
                polylines=_polylines(points),
                smoothed=_polylines([(scale.x(x), scale.y(value)) for x, value in smoothed]),
                labels=labels if len(curves) <= _MOST_LABELLED else [],
                last=tell(float(curve.values[-1])) if curve.values else "",
            )
        )
    return Chart(
        name=name,
        run_ids=run_ids,
        count=sum(curve.count for curve in curves),
        lines=lines,
        y_ticks=scale.y_ticks,
        x_ticks=scale.x_ticks,
        left=round(scale.left, 1),
        axis=axis,
        low=low,
        high=high,
        bottom=scale.bottom,
        top=scale.top,
        gaps=len(seen) - len(fit),
        is_zoomed=zoom is not None,
        log_x=settings.log_x,
        log_y=settings.log_y,
    )


def _fits(value: float, log: bool) -> bool:
    return math.isfinite(value) and (value > 0 or not log)


def _smoothed(middles: Sequence[tuple[float, float]], weight: float) -> list[tuple[float, float]]:
    """The exponential mean of what came so far, without the pull to zero that it begins with."""
    found = []
    mean, share = 0.0, 1.0
    for x, value in middles:
        mean = mean * weight + value * (1 - weight)
        share *= weight
        found.append((x, mean / (1 - share)))
    return found


@dataclass(frozen=True)
class _Scale:
    """Where values and places stand in a picture, and its grid."""

    left: float
    bottom: float
    top: float
    x: Callable[[float], float]
    y: Callable[[float], float]
    y_ticks: list[Tick]
    x_ticks: list[Tick]


def _scale(
    finite: Sequence[float],
    first: float,
    last: float,
    axis: str,
    settings: ChartSettings,
    tell: Callable[[float], str],
) -> _Scale:
    if settings.log_y:
        ticks = _log_ticks(min(finite), max(finite))
    else:
        ticks = _ticks(min(finite), max(finite), _TICKS_Y)
    low, high = min(ticks[0], *finite), max(ticks[-1], *finite)
    y_labels = [tell(tick) for tick in ticks]
    left = 12 + _LETTER * max(len(label) for label in y_labels)
    across = _share(first, last, settings.log_x)
    up = _share(low, high, settings.log_y)

    def x(place: float) -> float:
        return left + (WIDTH - _RIGHT - left) * across(place)

    def y(value: float) -> float:
        return _TOP + (HEIGHT - _BOTTOM - _TOP) * (1 - up(value))

    y_ticks = [Tick(round(y(tick), 1), label) for tick, label in zip(ticks, y_labels, strict=True)]
    return _Scale(left, low, high, x, y, y_ticks, _x_ticks(first, last, axis, x, settings.log_x))


def _share(low: float, high: float, log: bool) -> Callable[[float], float]:
    """0 at ``low``, 1 at ``high``, NaN for what has no place."""
    if log:
        begin, whole = math.log(low), math.log(high) - math.log(low)
        return lambda at: ((math.log(at) - begin) / whole if whole else 0.5) if 0 < at < math.inf else math.nan
    # By halves, since the distance between two numbers may be more than a number can be.
    whole = high / 2 - low / 2
    return lambda at: (at / 2 - low / 2) / whole if whole else 0.5


def _polylines(points: Sequence[tuple[float, float]]) -> list[str]:
    lines: list[list[str]] = [[]]
    for x, y in points:
        if math.isfinite(x) and math.isfinite(y):
            lines[-1].append(f"{x:.1f},{y:.1f}")
        elif lines[-1]:
            lines.append([])
    return [" ".join(line) for line in lines if line]


def _x_ticks(first: float, last: float, axis: str, x: Callable[[float], float], log: bool) -> list[Tick]:
    if last <= first:
        return [Tick(round(x(first), 1), _label(first, axis))]
    if axis == TIME:
        return [Tick(round(x(at), 1), _clock(at, last - first)) for at in _times(first, last)]
    ticks = _log_ticks(first, last) if log else _ticks(first, last, _TICKS_X)
    ticks = [tick for tick in ticks if first <= tick <= last]
    if axis in ("step", PLACE):
        ticks = [tick for tick in ticks if tick == int(tick)]
    return [Tick(round(x(tick), 1), _label(tick, axis)) for tick in ticks]


def _label(place: float, axis: str) -> str:
    if axis == TIME:
        return words.utc(place)
    return ("−" if place < 0 else "") + words.duration(abs(place)) if axis == "elapsed" else words.number(place)


def _clock(at: float, span: float) -> str:
    """A moment of a span, as short as it can be told: 08-17, 14:05, 14:05:30."""
    said = words.utc(at)
    return (
        said[5:10] if span > 3 * 86400 else said[5:16] if span > 86400 else said[11:16] if span > 600 else said[11:19]
    )


def _times(first: float, last: float) -> list[float]:
    rough = (last - first) / 3
    units = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
    step = next((unit for unit in units if unit >= rough), 86400 * math.ceil(rough / 86400))
    begin = math.ceil(first / step)
    found = [float(number * step) for number in range(begin, math.floor(last / step) + 1)]
    return found or [first]


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten around both numbers; within few of them twos and fives as well."""
    begin, end = max(-307, math.floor(math.log10(low) + 1e-9)), math.ceil(math.log10(high) - 1e-9)
    end = min(max(end, begin + 1), 308)
    stride = max(1, math.ceil((end - begin) / 5))
    if end - begin > 2:
        return [10.0**power for power in range(begin, end + stride, stride) if power <= 308]
    ticks = [factor * 10.0**power for power in range(begin, end) for factor in (1, 2, 5)] + [10.0**end]
    return [
        tick
        for place, tick in enumerate(ticks)
        if (place + 1 == len(ticks) or ticks[place + 1] >= low) and (place == 0 or ticks[place - 1] <= high)
    ]


def _ticks(low: float, high: float, wanted: int) -> list[float]:
    """Round numbers from at or below ``low`` to at or above ``high``, about ``wanted`` of them."""
    if not high / 2 - low / 2 > abs(high) * 1e-12:
        room = abs(low) * 0.1 or 1.0
        low, high = max(low - room, -sys.float_info.max), min(high + room, sys.float_info.max)
    raw = (high / wanted - low / wanted) or 1.0
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= raw * 0.999)
    begin, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = [number * step for number in range(begin, end + 1)]
    return [tick for tick in ticks if math.isfinite(tick)]
