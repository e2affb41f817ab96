"""Line charts: a metric's points as the geometry of an SVG picture."""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from runyard_server.ui import words

MAX_POINTS = 240  # of a line that is some 300 pixels wide
WIDTH, HEIGHT = 360, 170
_TOP, _BOTTOM, _RIGHT = 10, 22, 12
_LETTER = 6.3  # width of a digit of the labels
_TICKS_Y, _TICKS_X = 4, 5
_STEPS, _ELAPSED, _PLACES = "step", "time", "value"


@dataclass(frozen=True)
class Tick:
    """A grid line and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class Chart:
    """One metric's picture. Positions are in the picture's own units.

    Attributes:
        lines: polylines as SVG has them ("x,y x,y"); a value that is no finite number breaks the line.
        labels: of each point of the lines, in order, where and what it is.
        axis: what the x axis counts: "step", "time" or "value" (first, second, ...).
        gaps: how many of the drawn points are no finite numbers.
    """

    name: str
    count: int
    last: str
    lines: list[str]
    labels: list[str]
    y_ticks: list[Tick]
    x_ticks: list[Tick]
    left: float
    axis: str
    gaps: int
    width: int = WIDTH
    height: int = HEIGHT


def chart(history: dict[str, Any]) -> Chart | None:
    """The chart of what ``MetricService.history`` gives; None where fewer than two points can be drawn."""
    values = [float(value) for value in history["values"]]
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return None
    axis, places = _places(history)
    scale = _scale(finite, places, axis)
    labels = [
        f"{_label(place, axis)}|{words.number(value)}"
        for place, value in zip(places, values, strict=True)
        if math.isfinite(value)
    ]
    return Chart(
        name=history["name"],
        count=history["count"],
        last=words.number(values[-1]),
        lines=_lines([(scale.x(place), scale.y(value)) for place, value in zip(places, values, strict=True)]),
        labels=labels,
        y_ticks=scale.y_ticks,
        x_ticks=scale.x_ticks,
        left=scale.left,
        axis=axis,
        gaps=len(values) - len(finite),
    )


@dataclass(frozen=True)
class Overlay:
    """One metric of several runs. ``lines`` has, for each run, its place, its polylines and its last value."""

    name: str
    lines: list[tuple[int, list[str], str]]
    y_ticks: list[Tick]
    x_ticks: list[Tick]
    left: float
    axis: str
    width: int = WIDTH
    height: int = HEIGHT


def overlay(name: str, histories: Sequence[tuple[int, dict[str, Any]]]) -> Overlay | None:
    """The curves of one metric of several runs on common axes; None where fewer than two points can be drawn."""
    told = [(place, history, *_places(history)) for place, history in histories if history["values"]]
    axes = {axis for _, _, axis, _ in told}
    if len(axes) > 1:  # the runs count differently: by time they can be laid over each other all the same
        told = [(place, one, _ELAPSED, [at - one["times"][0] for at in one["times"]]) for place, one, _, _ in told]
    finite = [float(value) for _, one, _, _ in told for value in one["values"] if math.isfinite(value)]
    if len(finite) < 2:
        return None
    axis = told[0][2]
    scale = _scale(finite, [at for *_, places in told for at in places], axis)
    lines = []
    for place, one, _, places in told:
        points = [(scale.x(at), scale.y(float(value))) for at, value in zip(places, one["values"], strict=True)]
        lines.append((place, _lines(points), words.number(float(one["values"][-1]))))
    return Overlay(name, lines, scale.y_ticks, scale.x_ticks, scale.left, axis)


@dataclass(frozen=True)
class _Scale:
    """Where values and places stand in a picture, and its grid."""

    left: float
    x: Callable[[float], float]
    y: Callable[[float], float]
    y_ticks: list[Tick]
    x_ticks: list[Tick]


def _scale(finite: Sequence[float], places: Sequence[float], axis: str) -> _Scale:
    ticks = _ticks(min(finite), max(finite), _TICKS_Y)
    low, high = min(ticks[0], *finite), max(ticks[-1], *finite)
    y_labels = [words.number(tick) for tick in ticks]
    left = 12 + _LETTER * max(len(label) for label in y_labels)
    first, last = min(places), max(places)

    def x(place: float) -> float:
        return left + (WIDTH - _RIGHT - left) * ((place - first) / (last - first) if last > first else 0.5)

    def y(value: float) -> float:
        # By halves, since the distance between two numbers may be more than a number can be.
        return _TOP + (HEIGHT - _BOTTOM - _TOP) * (1 - (value / 2 - low / 2) / (high / 2 - low / 2))

    y_ticks = [Tick(round(y(tick), 1), label) for tick, label in zip(ticks, y_labels, strict=True)]
    return _Scale(left, x, y, y_ticks, _x_ticks(first, last, axis, x))


def _places(history: dict[str, Any]) -> tuple[str, list[float]]:
    """What the x axis counts, and each point's place on it."""
    steps: Sequence[int | None] = history["steps"]
    if all(step is not None for step in steps):
        return _STEPS, [float(step) for step in steps if step is not None]
    if len(steps) == history["count"]:
        return _PLACES, [float(place) for place in range(1, len(steps) + 1)]
    times: Sequence[float] = history["times"]
    return _ELAPSED, [at - times[0] for at in times]


def _lines(points: Sequence[tuple[float, float]]) -> list[str]:
    lines: list[list[str]] = [[]]
    for x, y in points:
        if math.isfinite(y):
            lines[-1].append(f"{x:.1f},{y:.1f}")
        elif lines[-1]:
            lines.append([])
    return [" ".join(line) for line in lines if line]


def _x_ticks(first: float, last: float, axis: str, x: Any) -> list[Tick]:
    if last <= first:
        return [Tick(round(x(first), 1), _label(first, axis))]
    ticks = [tick for tick in _ticks(first, last, _TICKS_X) if first <= tick <= last]
    if axis != _ELAPSED:
        ticks = [tick for tick in ticks if tick == int(tick)]
    return [Tick(round(x(tick), 1), _label(tick, axis)) for tick in ticks]


def _label(place: float, axis: str) -> str:
    return words.duration(place) if axis == _ELAPSED else words.number(place)


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
