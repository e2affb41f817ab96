"""Many points of one metric as one block of bytes, and what is worth knowing of them at a glance.

A block is three little-endian columns, one after the other: steps (int64), times (float64), values
(float64 or int64). Values come back as they went in: NaN, infinities, -0.0 and every 64-bit integer.
A block that grows no more is sealed: the same columns, compressed.
"""

import operator
import sys
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

FLOATS = "d"
INTEGERS = "q"
MIXED = "m"  # a fourth column of one byte each says which values are integers
SEALED = {FLOATS: "D", INTEGERS: "Q", MIXED: "M"}  # how a sealed block says the same
LAST_BYTES = 25  # a sealed block ends with its last point as it is: step, time, value, and whether that is an integer
NO_STEP = -(1 << 63)

_OPENED = {sealed: kind for kind, sealed in SEALED.items()}
_LEVEL = 1  # of zlib: what a higher one saves is a hundredth

Number = int | float


@dataclass(frozen=True)
class Chunk:
    """``count`` points, packed. ``kind`` says what the values are: FLOATS, INTEGERS or MIXED; or one of SEALED's."""

    kind: str
    count: int
    data: bytes


@dataclass(frozen=True)
class Points:
    """Points in the order they were logged: columns of the same length. A step may be None."""

    steps: list[int | None]
    times: list[float]
    values: list[Number]


def pack(points: Points) -> Chunk:
    """Steps lie above -2**63 and integer values within 64 bits; who takes the points in checks that."""
    steps = [NO_STEP if step is None else step for step in points.steps]
    head = _bytes(array("q", steps)) + _bytes(array("d", points.times))
    kinds = set(map(type, points.values))
    if kinds <= {float}:
        return Chunk(FLOATS, len(steps), head + _bytes(array("d", points.values)))
    if kinds == {int}:
        return Chunk(INTEGERS, len(steps), head + _bytes(array("q", points.values)))
    flags = bytes(type(value) is int for value in points.values)
    slots = b"".join(
        _bytes(array("q", [value]) if type(value) is int else array("d", [value])) for value in points.values
    )
    return Chunk(MIXED, len(steps), head + slots + flags)


class Columns:
    """A chunk's points as ``Points`` has them, each column unpacked when it is asked for: a picture needs two of three.

    Attributes:
        kind: FLOATS, INTEGERS or MIXED.
    """

    def __init__(self, chunk: Chunk) -> None:
        self.kind = _OPENED.get(chunk.kind, chunk.kind)
        self._is_sealed, self._told, data = chunk.kind in _OPENED, 0, chunk.data
        if self._is_sealed:
            self._told, data = data[0], zlib.decompress(data[1:-LAST_BYTES])
        width = 8 * chunk.count
        self._stored = [data[:width], data[width : 2 * width], data[2 * width : 3 * width]]
        self._flags = data[3 * width :]

    @property
    def steps(self) -> list[int | None]:
        """Of each point its step."""
        steps = _integers(self._column(0))
        return [None if step == NO_STEP else step for step in steps] if NO_STEP in steps else list(steps)

    @property
    def times(self) -> list[float]:
        """Of each point its time, in seconds since the epoch."""
        return _floats(self._column(1))

    @property
    def values(self) -> list[Number]:
        """Of each point its value."""
        slots = self._column(2)
        if self.kind == FLOATS:
            return _floats(slots)
        if self.kind == INTEGERS:
            return list(_integers(slots))
        return [
            integer if flag else number
            for flag, integer, number in zip(self._flags, _integers(slots), _floats(slots), strict=True)
        ]

    def packed(self) -> tuple[bytes, bytes, bytes, bytes]:
        """Steps, times, values and flags as a block has them that is not sealed."""
        return self._column(0), self._column(1), self._column(2), self._flags

    def _column(self, place: int) -> bytes:
        if not self._is_sealed:
            return self._stored[place]
        column = _whole(self._stored[place])
        return _sums(column) if self._told >> place & 1 else column


def unpack(chunk: Chunk) -> Points:
    """The points that ``pack`` was given."""
    columns = Columns(chunk)
    return Points(columns.steps, columns.times, columns.values)


def joined(several: Sequence[Points]) -> Points:
    """All points, in order."""
    return Points(
        [step for points in several for step in points.steps],
        [at for points in several for at in points.times],
        [value for points in several for value in points.values],
    )


def tail(points: Points, count: int) -> Points:
    """The last ``count`` of the points."""
    return Points(points.steps[-count:], points.times[-count:], points.values[-count:])


def merge(chunks: Sequence[Chunk]) -> Chunk:
    """The chunks' points in one chunk, in the same order."""
    columns = [Columns(chunk) for chunk in chunks]
    packed = [each.packed() for each in columns]
    kinds = {each.kind for each in columns}
    kind = kinds.pop() if len(kinds) == 1 else MIXED
    whole = [b"".join(column[place] for column in packed) for place in range(3)]
    if kind == MIXED:
        for chunk, each, column in zip(chunks, columns, packed, strict=True):
            whole.append(column[3] or bytes([each.kind == INTEGERS]) * chunk.count)
    return Chunk(kind, sum(chunk.count for chunk in chunks), b"".join(whole))


def seal(chunk: Chunk) -> Chunk:
    """The same points in fewer bytes.

    Steps and times are kept as the differences to the one before, where these fit; then all first bytes of
    the numbers of a column stand together, all second bytes, and so on: those that hardly change take next to nothing.
    """
    if chunk.kind not in SEALED:
        return chunk
    steps, times, slots, flags = Columns(chunk).packed()
    steps_told, times_told = _differences(steps), _differences(times)
    head = bytes([(steps_told is not None) | (times_told is not None) << 1])
    planes = [_planes(steps_told or steps), _planes(times_told or times), _planes(slots), flags]
    last = steps[-8:] + times[-8:] + slots[-8:] + (flags[-1:] or bytes([chunk.kind == INTEGERS]))
    return Chunk(SEALED[chunk.kind], chunk.count, head + zlib.compress(b"".join(planes), _LEVEL) + last)


def parts(chunk: Chunk, size: int) -> list[Chunk]:
    """The chunk's points in chunks of ``size`` points; the last one may be smaller."""
    chunk = _opened(chunk)
    if chunk.count <= size:
        return [chunk]
    steps, times, slots, flags = Columns(chunk).packed()
    found = []
    for start in range(0, chunk.count, size):
        some = slice(8 * start, 8 * (start + size))
        data = steps[some] + times[some] + slots[some] + flags[start : start + size]
        found.append(Chunk(chunk.kind, min(size, chunk.count - start), data))
    return found


def _opened(chunk: Chunk) -> Chunk:
    """The chunk before it was sealed."""
    if chunk.kind not in _OPENED:
        return chunk
    return Chunk(_OPENED[chunk.kind], chunk.count, b"".join(Columns(chunk).packed()))


def _differences(column: bytes) -> bytes | None:
    """Each number of 64 bits less the one before; None where a difference has more."""
    numbers = _integers(column)
    try:
        return _bytes(array("q", [numbers[0], *map(operator.sub, numbers[1:], numbers)]))
    except OverflowError:
        return None


def _sums(column: bytes) -> bytes:
    return _bytes(array("q", accumulate(_integers(column))))


def _planes(column: bytes) -> bytes:
    return b"".join(column[place::8] for place in range(8))


def _whole(planes: bytes) -> bytes:
    count = len(planes) // 8
    column = bytearray(len(planes))
    for place in range(8):
        column[place::8] = planes[place * count : (place + 1) * count]
    return bytes(column)


def _bytes(column: "array[int] | array[float]") -> bytes:
    if sys.byteorder == "big":
        column.byteswap()
    return column.tobytes()


def _integers(data: bytes) -> list[int]:
    column = array("q", data)
    if sys.byteorder == "big":
        column.byteswap()
    return column.tolist()


def _floats(data: bytes) -> list[Number]:
    column = array("d", data)
    if sys.byteorder == "big":
        column.byteswap()
    return list(column.tolist())


@dataclass(frozen=True)
class Summary:
    """A metric at a glance. NaN is never the least or greatest; ``last`` is None when it is NaN or text."""

    count: int = 0
    last: float | None = None
    min: float | None = None
    max: float | None = None
    last_step: int | None = None
    min_step: int | None = None
    max_step: int | None = None


def summarize(points: Points) -> Summary:
    """The summary of at least one point."""
    values = points.values
    total = sum(values)  # NaN where one of them is, or infinities of both signs are
    numbers = values if total == total else [value for value in values if value == value]
    last = float(values[-1])
    known = Summary(
        count=len(values),
        last=last if last == last else None,
        last_step=points.steps[-1],
    )
    if not numbers:
        return known
    least, greatest = min(numbers), max(numbers)
    return Summary(
        count=known.count,
        last=known.last,
        last_step=known.last_step,
        min=float(least),
        min_step=points.steps[values.index(least)],
        max=float(greatest),
        max_step=points.steps[values.index(greatest)],
    )


def combine(first: Summary, later: Summary) -> Summary:
    """The summary of both, where ``later``'s points came after ``first``'s. The earliest extreme stands."""
    if not later.count:
        return first
    if not first.count:
        return later
    takes_min = later.min is not None and (first.min is None or later.min < first.min)
    takes_max = later.max is not None and (first.max is None or later.max > first.max)
    return Summary(
        count=first.count + later.count,
        last=later.last,
        last_step=later.last_step,
        min=later.min if takes_min else first.min,
        min_step=later.min_step if takes_min else first.min_step,
        max=later.max if takes_max else first.max,
        max_step=later.max_step if takes_max else first.max_step,
    )
