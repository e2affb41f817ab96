"""Curves: of a metric's points those that a picture of some width needs, so that nothing that the eye would see is lost.

A million points are not read for a picture: each block of a sealed chunk has an outline, the few of its points
that it is drawn by from afar. Blocks are never parted: the edge of a pixel's column moves by a block at most.
"""

import math
import operator
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import cast

from runyard_server.domain.metric_chunks import Chunk, Columns, Number, Points, pack, seal, unpack

BLOCK = 128  # points
FEWEST_BLOCKS = 4  # of a chunk that is worth an outline
MOST_TELLING = 7

STEP, ELAPSED, TIME = "step", "elapsed", "time"  # what the x of a point can be
PLACE = "place"  # among all points of the metric, from 1: what takes the place of steps where there are none


@dataclass(frozen=True)
class Outline:
    """What is kept of a chunk: ``count`` points, packed, after their places in the chunk and each block's mean.

    Attributes:
        low_step, high_step: the least and greatest step; None where a point has none.
        low_time, high_time: the same of the times.
    """

    kind: str
    count: int
    data: bytes
    low_step: int | None
    high_step: int | None
    low_time: float
    high_time: float


def telling(values: Sequence[Number]) -> list[int]:
    """Places of the values by which a stretch is drawn, in order; at most seven.

    They are the first and the last, the least and the greatest finite one, and the first NaN, infinity and
    negative infinity.
    """
    count = len(values)
    if count <= 2:
        return list(range(count))
    if math.isfinite(sum(values)):  # then each of them is
        return sorted({0, count - 1, values.index(min(values)), values.index(max(values))})
    kept = {0, count - 1}
    finite = [place for place, value in enumerate(values) if math.isfinite(value)]
    if finite:
        kept |= {min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)}
    if len(finite) < count:
        for is_one in (math.isnan, math.inf.__eq__, (-math.inf).__eq__):
            place = next((place for place, value in enumerate(values) if is_one(value)), None)
            if place is not None:
                kept.add(place)
    return sorted(kept)


def outline(chunk: Chunk) -> Outline | None:
    """The outline of a chunk; None for one that is as quickly read itself."""
    if chunk.count < FEWEST_BLOCKS * BLOCK:
        return None
    points = unpack(chunk)
    values = points.values
    blocks = [values[start : start + BLOCK] for start in range(0, chunk.count, BLOCK)]
    places = [number * BLOCK + place for number, block in enumerate(blocks) for place in telling(block)]
    kept = seal(pack(chosen(points, places)))
    steps = [step for step in points.steps if step is not None]
    stepped = len(steps) == chunk.count
    return Outline(
        kept.kind,
        kept.count,
        struct.pack(f"<{len(places)}H{len(blocks)}d", *places, *map(mean, blocks)) + kept.data,
        min(steps) if stepped else None,
        max(steps) if stepped else None,
        min(points.times),
        max(points.times),
    )


def mean(values: Sequence[Number]) -> float:
    """The mean of the finite values; NaN where there are none."""
    whole = math.fsum(values) if math.isfinite(sum(values)) else math.nan
    if math.isfinite(whole):
        return whole / len(values)
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(value / len(finite) for value in finite) if finite else math.nan


def chosen(points: Points, places: Sequence[int]) -> Points:
    """The points at these places."""
    return Points(
        [points.steps[place] for place in places],
        [points.times[place] for place in places],
        [points.values[place] for place in places],
    )


@dataclass
class Line:
    """A curve being put together: pieces (blocks' outlines, single points), each with its points.

    Attributes:
        axis: STEP (only where every point has one) or PLACE; the times are the x of any other.
        xs, values: of the points.
        starts: where among the points each piece begins.
        means: of each piece.
    """

    axis: str
    xs: list[Number] = field(default_factory=list)
    values: list[Number] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    means: list[Number] = field(default_factory=list)

    def add_points(self, points: Points, before: int) -> None:
        """Adds the points of a chunk, each a piece. ``before``: how many the metric has before these."""
        begin, count = len(self.values), len(points.values)
        self.starts += range(begin, begin + count)
        self.means += points.values
        self._add(range(before + 1, before + 1 + count), points)

    def add_outline(self, kept: Outline, before: int) -> None:
        """Adds what is kept of a chunk, each block a piece."""
        begin, width = len(self.values), struct.calcsize(f"<{kept.count}H")
        places = struct.unpack(f"<{kept.count}H", kept.data[:width])
        blocks = places[-1] // BLOCK + 1
        self.starts += [begin + bisect_left(places, block * BLOCK) for block in range(blocks)]
        means = struct.Struct(f"<{blocks}d")
        self.means += means.unpack_from(kept.data, width)
        packed = Chunk(kept.kind, kept.count, kept.data[width + means.size :])
        self._add((before + 1 + place for place in places), Columns(packed))

    def _add(self, places: Iterable[int], points: Points | Columns) -> None:
        if self.axis == PLACE:
            self.xs += places
        else:
            self.xs += _all_known(points.steps) if self.axis == STEP else points.times
        self.values += points.values


def _all_known(steps: list[int | None]) -> list[int]:
    """The steps of points each of which has one."""
    assert None not in steps
    return cast(list[int], steps)


@dataclass(frozen=True)
class Thinned:
    """What a line is drawn by.

    Attributes:
        places: of the points, in the order of their x.
        middles: of each column that has a finite value its middle x, and the mean.
    """

    places: list[int]
    middles: list[tuple[float, float]]


def thinned(
    xs: Sequence[Number],
    values: Sequence[Number],
    starts: Sequence[int],
    means: Sequence[Number],
    width: int,
    low: float | None = None,
    high: float | None = None,
) -> Thinned:
    """The points that draw the line.

    The range from ``low`` to ``high`` is cut into ``width`` columns of one width. A piece lies where its first point
    does; of each column the telling points stay. Beside the range the nearest piece on each side stays, so that
    the line leaves the picture where it should.

    Args:
        starts: where each piece begins; each point may be one.
        means: of each piece.
        low, high: None for the ends of the line.
    """
    if not starts:
        return Thinned([], [])
    flat, starts, firsts, means = _in_order(xs, starts, means)
    in_turn = values if isinstance(flat, range) else [values[place] for place in flat]
    begin = 0 if low is None else max(0, bisect_left(firsts, low) - 1)
    end = len(firsts) if high is None else min(len(firsts), bisect_right(firsts, high) + 1)
    bounds = [begin, *_columns(firsts, begin, end, width, low, high), end]
    ends = [*starts[1:], len(flat)]
    kept: list[int] = []
    middles = []
    for first, after in pairwise(bounds):
        if after > first:
            at = starts[first]
            kept += [flat[at + place] for place in telling(in_turn[at : ends[after - 1]])]
            middle = mean(means[first:after])
            if middle == middle:
                middles.append((firsts[first] / 2 + firsts[after - 1] / 2, middle))
    ordered = kept if _is_ordered([xs[place] for place in kept]) else sorted(kept, key=xs.__getitem__)
    return Thinned(ordered, middles)


def _columns(
    firsts: Sequence[Number], begin: int, end: int, width: int, low: float | None, high: float | None
) -> list[int]:
    """Where, among the pieces, each column but the first begins."""
    least = firsts[begin] if low is None else low
    most = firsts[end - 1] if high is None else high
    # Of a range that is looked at, what lies before and after it are columns of their own.
    edges = range(0 if low is not None else 1, width + 1 if high is not None else width)
    found = []
    at = begin
    for edge in edges:
        x = least * (1 - edge / width) + most * (edge / width)
        at = (bisect_right if edge == width else bisect_left)(firsts, x, at, end)
        found.append(at)
    return found


def _in_order(
    xs: Sequence[Number], starts: Sequence[int], means: Sequence[Number]
) -> tuple[Sequence[int], Sequence[int], Sequence[Number], Sequence[Number]]:
    """The points' places, where each piece begins among them, its first x and its mean: pieces in the order of that x."""
    firsts = xs if len(starts) == len(xs) else [xs[start] for start in starts]
    if _is_ordered(firsts):
        return range(len(xs)), starts, firsts, means
    ends = [*starts[1:], len(xs)]
    order = sorted(range(len(starts)), key=firsts.__getitem__)
    flat = [place for piece in order for place in range(starts[piece], ends[piece])]
    begins, at = [], 0
    for piece in order:
        begins.append(at)
        at += ends[piece] - starts[piece]
    return flat, begins, [firsts[piece] for piece in order], [means[piece] for piece in order]


def _is_ordered(numbers: Sequence[Number]) -> bool:
    return all(map(operator.le, numbers, islice(numbers, 1, None)))
