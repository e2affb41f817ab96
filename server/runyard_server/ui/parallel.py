"""Parallel coordinates: each run a line across what differs in numbers, arguments first, then what came of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runyard_server.ui import words
from runyard_server.ui.charts import CROWD

WIDTH, HEIGHT = 760, 230
MOST_AXES = 8
MOST_ARGUMENTS = 5  # of them, where there are metrics enough for the others
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 64, 24, 36

Values = Sequence[float | None]


@dataclass(frozen=True)
class Axis:
    """One of the upright lines: what it counts, and what stands at its ends."""

    title: str
    x: float
    low: str
    high: str


@dataclass(frozen=True)
class Parallel:
    """The picture. ``lines``: of each run with a line its place on the page, and its pieces as SVG has them."""

    axes: Sequence[Axis]
    lines: Sequence[tuple[int, Sequence[str]]]
    left_out: int
    width: int = WIDTH
    height: int = HEIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM

    @property
    def is_crowded(self) -> bool:
        return len(self.lines) > CROWD


def parallel(arguments: Mapping[str, Values], metrics: Mapping[str, Values]) -> Parallel | None:
    """The picture of columns of values, one for each run; None where fewer than two of them differ."""
    fit = [(name, values) for name, values in arguments.items() if _differs(values)]
    measured = [(name, values) for name, values in metrics.items() if _differs(values)]
    room = max(MOST_ARGUMENTS, MOST_AXES - len(measured))
    shown = [*fit[:room], *measured][:MOST_AXES]
    if len(shown) < 2:
        return None
    xs = [_LEFT + (WIDTH - _LEFT - _RIGHT) * place / (len(shown) - 1) for place in range(len(shown))]
    ends = [_ends(values) for _, values in shown]
    axes = [
        Axis(name, round(x, 1), words.number(low), words.number(high))
        for (name, _), x, (low, high) in zip(shown, xs, ends, strict=True)
    ]
    lines = []
    for run in range(len(shown[0][1])):
        pieces: list[list[str]] = [[]]
        for (_, values), x, (low, high) in zip(shown, xs, ends, strict=True):
            value = values[run]
            if value is None or not math.isfinite(value):
                pieces.append([])
                continue
            share = (value / 2 - low / 2) / (high / 2 - low / 2)  # by halves: a difference may be more than a number
            pieces[-1].append(f"{x:.1f},{_TOP + (HEIGHT - _BOTTOM - _TOP) * (1 - share):.1f}")
        drawn = [" ".join(piece) for piece in pieces if len(piece) > 1]
        if drawn:
            lines.append((run, drawn))
    return Parallel(axes, lines, len(fit) + len(measured) - len(shown))


def numeric(texts: Sequence[str | None]) -> list[float | None]:
    """Arguments as numbers; none at all where one is another text: a column of names has no axis."""
    found: list[float | None] = []
    for text in texts:
        try:
            found.append(None if text is None else float(text))
        except ValueError:
            return []
    return found


def _ends(values: Values) -> tuple[float, float]:
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return min(finite, default=0.0), max(finite, default=0.0)


def _differs(values: Values) -> bool:
    low, high = _ends(values)
    return high / 2 - low / 2 > 0
