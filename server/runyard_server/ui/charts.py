"""Line charts: curves as the geometry of an SVG picture."""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runyard_server.domain.metric_curves import PLACE, TIME
from runyard_server.services.container import Services
from runyard_server.services.curves import Curve
from runyard_server.ui import words
from runyard_server.ui.chart_settings import ChartSettings

WIDTH, HEIGHT = 360, 170
COLUMNS = 240  # of pixels, within the axes
_FEWEST_COLUMNS = 24
_MOST_IN_ALL = 6000  # columns of all lines of one picture
CROWD = 24  # lines; more are drawn as thin as can be, and a pointer is told what the picture's scale says
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
    axis_title: str = ""  # instead of the axis's own words
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def last(self) -> str:
        return self.lines[0].last if self.lines else ""

    @property
    def is_crowded(self) -> bool:
        return len(self.lines) > CROWD


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
    axis_title: str = "",
) -> Chart:
    """The picture of one metric's curves; ``tell`` says a value as people read it."""
    zoom = settings.zooms.get(name)
    axes = {curve.axis for curve in curves}
    axis = PLACE if PLACE in axes else next(iter(axes))
    drawn = _Points([x for curve in curves for x in curve.xs], [float(y) for curve in curves for y in curve.values])
    seen = drawn if zoom is None else drawn.where(lambda x, _: zoom[0] <= x <= zoom[1])
    fit = _fitting(seen, settings)
    # A range with no point in it is drawn by the points beside it.
    shown = fit if fit.xs else _fitting(drawn, settings)
    low, high = zoom or (min(shown.xs, default=0), max(shown.xs, default=1))
    if settings.log_x and low <= 0:
        low = min(shown.xs, default=1)
    scale = _scale(shown.ys or [1.0, 10.0], low, max(low, high), axis, settings, tell)
    places = {run_id: place for place, run_id in enumerate(run_ids)}
    label = _labeller(axis)
    lines = []
    for curve in curves:
        values = list(map(float, curve.values))
        across, up = scale.xs(curve.xs), scale.ys(values)
        labels: list[str] = []
        if len(curves) <= CROWD:
            labels = [
                f"{label(x)}|{tell(value)}"
                for x, value, right, high_up in zip(curve.xs, values, across, up, strict=True)
                if math.isfinite(right) and math.isfinite(high_up)
            ]
        smoothed = _smoothed(curve.middles, settings.smooth) if settings.smooth else _Points([], [])
        lines.append(
            Line(
                run=places[curve.run_id],
                polylines=_polylines(across, up),
                smoothed=_polylines(scale.xs(smoothed.xs), scale.ys(smoothed.ys)),
                labels=labels,
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
        gaps=len(seen.xs) - len(fit.xs),
        is_zoomed=zoom is not None,
        log_x=settings.log_x,
        log_y=settings.log_y,
        axis_title=axis_title,
    )


@dataclass(frozen=True)
class _Points:
    """Points by their columns: there are a hundred thousand, and a pair for each would take longest of all."""

    xs: Sequence[float]
    ys: Sequence[float]

    def where(self, fits: Callable[[float, float], bool]) -> "_Points":
        kept = [(x, y) for x, y in zip(self.xs, self.ys, strict=True) if fits(x, y)]
        return _Points([x for x, _ in kept], [y for _, y in kept])


def _fitting(points: _Points, settings: ChartSettings) -> _Points:
    """Those that have a place on the axes."""
    if not settings.log_y and math.isfinite(sum(points.ys)):  # then each of them is
        return points.where(lambda x, _: x > 0) if settings.log_x else points
    return points.where(
        lambda x, y: math.isfinite(y) and (y > 0 or not settings.log_y) and (x > 0 or not settings.log_x)
    )


def _smoothed(middles: Sequence[tuple[float, float]], weight: float) -> _Points:
    """The exponential mean of what came so far, without the pull to zero that it begins with."""
    means = []
    mean, share = 0.0, 1.0
    for _, value in middles:
        mean = mean * weight + value * (1 - weight)
        share *= weight
        means.append(mean / (1 - share))
    return _Points([x for x, _ in middles], means)


@dataclass(frozen=True)
class _Scale:
    """Where values and places stand in a picture, and its grid. What has no place has one that is not finite."""

    left: float
    bottom: float
    top: float
    xs: Callable[[Sequence[float]], list[float]]
    ys: Callable[[Sequence[float]], list[float]]
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
    across = _shares(first, last, settings.log_x)
    up = _shares(low, high, settings.log_y)
    width, height = WIDTH - _RIGHT - left, HEIGHT - _BOTTOM - _TOP

    def xs(places: Sequence[float]) -> list[float]:
        return [left + width * share for share in across(places)]

    def ys(values: Sequence[float]) -> list[float]:
        return [_TOP + height * (1 - share) for share in up(values)]

    y_ticks = [Tick(round(at, 1), label) for at, label in zip(ys(ticks), y_labels, strict=True)]
    return _Scale(left, low, high, xs, ys, y_ticks, _x_ticks(first, last, axis, xs, settings.log_x))


def _shares(low: float, high: float, log: bool) -> Callable[[Sequence[float]], list[float]]:
    """Of each number: 0 at ``low``, 1 at ``high``, NaN for what has no place. All at once: there are thousands."""
    if log:
        begin, whole = math.log(low), math.log(high) - math.log(low)
        return lambda numbers: [
            ((math.log(at) - begin) / whole if whole else 0.5) if 0 < at < math.inf else math.nan for at in numbers
        ]
    # By halves, since the distance between two numbers may be more than a number can be.
    half, whole = low / 2, high / 2 - low / 2
    return lambda numbers: [(at / 2 - half) / whole if whole else 0.5 for at in numbers]


def _polylines(xs: Sequence[float], ys: Sequence[float]) -> list[str]:
    if math.isfinite(sum(xs) + sum(ys)):  # then each of them is
        return [" ".join([f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True)])] if xs else []
    lines: list[list[str]] = [[]]
    for x, y in zip(xs, ys, strict=True):
        if math.isfinite(x) and math.isfinite(y):
            lines[-1].append(f"{x:.1f},{y:.1f}")
        elif lines[-1]:
            lines.append([])
    return [" ".join(line) for line in lines if line]


def _x_ticks(
    first: float, last: float, axis: str, xs: Callable[[Sequence[float]], list[float]], log: bool
) -> list[Tick]:
    def told(ticks: list[float], tell: Callable[[float], str]) -> list[Tick]:
        return [Tick(round(at, 1), tell(tick)) for at, tick in zip(xs(ticks), ticks, strict=True)]

    if last <= first:
        return told([first], _labeller(axis))
    if axis == TIME:
        return told(_times(first, last), lambda at: _clock(at, last - first))
    ticks = _log_ticks(first, last) if log else _ticks(first, last, _TICKS_X)
    ticks = [tick for tick in ticks if first <= tick <= last]
    if axis in ("step", PLACE):
        ticks = [tick for tick in ticks if tick == int(tick)]
    return told(ticks, _labeller(axis))


def _labeller(axis: str) -> Callable[[float], str]:
    """Says a place on the axis as people read it."""
    if axis == TIME:
        return words.utc
    if axis == "elapsed":
        return lambda place: ("−" if place < 0 else "") + words.duration(abs(place))
    return words.number


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
