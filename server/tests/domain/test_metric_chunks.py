"""Points go through a block of bytes and come back as they were."""

import math
import struct

from hypothesis import given
from hypothesis import strategies as st

from runyard_server.domain.metric_chunks import (
    FLOATS,
    INTEGERS,
    LAST_BYTES,
    MIXED,
    NO_STEP,
    SEALED,
    Chunk,
    Points,
    Summary,
    combine,
    joined,
    merge,
    pack,
    parts,
    seal,
    summarize,
    tail,
    unpack,
)

steps = st.none() | st.integers(NO_STEP + 1, 2**63 - 1)
times = st.floats(allow_nan=False, allow_infinity=False)
integers = st.integers(-(2**63), 2**63 - 1)
floats = st.floats()


def points_of(values: st.SearchStrategy[float], min_size: int = 0) -> st.SearchStrategy[Points]:
    rows = st.lists(st.tuples(steps, times, values), min_size=min_size, max_size=30)
    return rows.map(lambda rows: Points([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows]))


any_points = points_of(floats) | points_of(integers) | points_of(floats | integers)


def exact(points: Points) -> tuple[object, ...]:
    """Every bit that counts: the types, the sign of zero; one NaN is like another."""
    values = [
        value if type(value) is int else "NaN" if math.isnan(value) else struct.pack("<d", value)
        for value in points.values
    ]
    return points.steps, points.times, values


@given(any_points)
def test_points_come_back_as_they_were(points: Points) -> None:
    chunk = pack(points)
    assert chunk.count == len(points.values)
    assert exact(unpack(chunk)) == exact(points)


@given(any_points.filter(lambda points: bool(points.values)))
def test_points_come_back_from_a_sealed_chunk_as_they_were(points: Points) -> None:
    chunk = seal(pack(points))
    assert (chunk.kind, chunk.count) == (SEALED[pack(points).kind], len(points.values))
    assert exact(unpack(chunk)) == exact(points)
    assert seal(chunk) is chunk
    step, at, value, is_integer = struct.unpack("<qd8sB", chunk.data[-LAST_BYTES:])
    last = unpack(Chunk(INTEGERS if is_integer else FLOATS, 1, struct.pack("<qd", step, at) + value))
    assert exact(last) == exact(tail(points, 1))


@given(st.lists(any_points.filter(lambda points: bool(points.values)), min_size=1, max_size=5), st.integers(1, 9))
def test_chunks_are_parted_and_merged_sealed_or_not(several: list[Points], size: int) -> None:
    whole = merge([seal(pack(points)) if place % 2 else pack(points) for place, points in enumerate(several)])
    pieces = parts(seal(whole), size)
    assert all(piece.count == size for piece in pieces[:-1]) and 0 < pieces[-1].count <= size
    assert exact(joined([unpack(piece) for piece in pieces])) == exact(joined(several))


def test_a_regular_metric_takes_a_few_bytes_a_point_when_it_is_sealed() -> None:
    count = 8192
    points = Points(list(range(count)), [1.79e9 + 0.05 * n for n in range(count)], [1 / (n + 1) for n in range(count)])
    assert len(seal(pack(points)).data) < 9 * count


@given(st.lists(any_points, min_size=1, max_size=5))
def test_merged_chunks_hold_the_points_of_all_in_order(parts: list[Points]) -> None:
    chunk = merge([pack(part) for part in parts])
    assert exact(unpack(chunk)) == exact(joined(parts))


def test_the_kind_says_what_the_values_are() -> None:
    def kind(*values: float) -> str:
        return pack(Points([None] * len(values), [0.0] * len(values), list(values))).kind

    assert [kind(), kind(1.0), kind(1), kind(1, 1.0), kind(2, 3)] == [FLOATS, FLOATS, INTEGERS, MIXED, INTEGERS]


def test_a_chunk_is_three_little_endian_columns() -> None:
    chunk = pack(Points([7, None], [1.5, 2.5], [0.25, -0.0]))
    assert chunk == Chunk(FLOATS, 2, struct.pack("<qqdddd", 7, -(2**63), 1.5, 2.5, 0.25, -0.0))


def test_chunks_of_one_kind_stay_of_that_kind_when_merged() -> None:
    one, two = Points([1], [0.0], [5]), Points([2], [0.0], [6.0])
    assert merge([pack(one), pack(one)]).kind == INTEGERS
    assert merge([pack(one), pack(two)]).kind == MIXED
    assert merge([merge([pack(one), pack(two)]), pack(two)]).kind == MIXED


def test_a_summary_has_the_extremes_their_steps_and_the_last() -> None:
    points = Points([1, 2, 3, 4], [0.0] * 4, [5.0, -1, math.nan, 2.0])
    assert summarize(points) == Summary(4, last=2.0, min=-1.0, max=5.0, last_step=4, min_step=2, max_step=1)


def test_nan_is_never_an_extreme_and_a_last_nan_is_none() -> None:
    assert summarize(Points([1, 2], [0.0] * 2, [math.nan, math.nan])) == Summary(2, last_step=2)
    summary = summarize(Points([1, 2, 3], [0.0] * 3, [math.nan, math.inf, math.nan]))
    assert summary == Summary(3, min=math.inf, max=math.inf, last_step=3, min_step=2, max_step=2)


@given(points_of(floats | integers, min_size=1), st.integers(0, 30))
def test_summaries_of_parts_combine_to_the_summary_of_the_whole(points: Points, cut: int) -> None:
    first = Points(points.steps[:cut], points.times[:cut], points.values[:cut])
    later = Points(points.steps[cut:], points.times[cut:], points.values[cut:])
    parts = [summarize(part) if part.values else Summary() for part in (first, later)]
    combined, whole = combine(*parts), summarize(points)
    # Two integers beyond 2**53 may be one float: which of them was first is then not told apart.
    assert (combined.count, combined.last, combined.last_step) == (whole.count, whole.last, whole.last_step)
    assert (combined.min, combined.max) == (whole.min, whole.max)
    if all(type(value) is float for value in points.values):
        assert combined == whole
