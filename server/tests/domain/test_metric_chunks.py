"""Points go through a block of bytes and come back as they were."""

import math
import struct

from hypothesis import given
from hypothesis import strategies as st

from runyard_server.domain.metric_chunks import (
    FLOATS,
    INTEGERS,
    MIXED,
    NO_STEP,
    Chunk,
    Points,
    Summary,
    combine,
    joined,
    merge,
    pack,
    summarize,
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
