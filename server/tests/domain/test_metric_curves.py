"""A picture's points are real ones, each column keeps its extremes, and outlines say what the points would."""

import math
from collections.abc import Sequence

from hypothesis import example, given
from hypothesis import strategies as st

from runyard_server.domain import metric_curves
from runyard_server.domain.metric_chunks import Points, pack
from runyard_server.domain.metric_curves import (
    BLOCK,
    FEWEST_BLOCKS,
    MOST_TELLING,
    PLACE,
    STEP,
    TIME,
    Line,
    outline,
    telling,
    thinned,
)

numbers = st.floats() | st.integers(-(2**63), 2**63 - 1)
tame = st.floats(allow_nan=False, allow_infinity=False, width=32)


def exactly(value: float) -> tuple[str, float | str]:
    return type(value).__name__, "NaN" if value != value else value


@given(st.lists(numbers, max_size=60))
def test_a_stretch_is_told_by_its_ends_its_extremes_and_one_of_each_that_is_no_number(values: list[float]) -> None:
    kept = telling(values)
    assert kept == sorted(set(kept)) and len(kept) <= MOST_TELLING
    if not values:
        return
    assert (kept[0], kept[-1]) == (0, len(values) - 1)
    told = [values[place] for place in kept]
    finite = [value for value in values if math.isfinite(value)]
    if finite:
        shown = [value for value in told if math.isfinite(value)]
        assert (min(shown), max(shown)) == (min(finite), max(finite))
    for is_one in (math.isnan, math.inf.__eq__, (-math.inf).__eq__):
        assert any(map(is_one, told)) == any(map(is_one, values))


def naive(xs: Sequence[float], values: Sequence[float], width: int, low: float, high: float) -> list[int]:
    """Column by column, by looking at every point: what a picture of the points is."""
    order = sorted(range(len(xs)), key=lambda place: xs[place])
    before = [place for place in order if xs[place] < low][-1:]
    after = [place for place in order if xs[place] > high][:1]
    edges = [low * (1 - edge / width) + high * (edge / width) for edge in range(width + 1)]
    kept, left = [*before], order
    for column in range(width):
        last = column == width - 1
        inside = [
            place
            for place in left
            if edges[column] <= xs[place] and (xs[place] <= edges[-1] if last else xs[place] < edges[column + 1])
        ]
        # The edges of a range of no width are the same number, give or take its last digit: each point is in one column.
        left = [place for place in left if place not in inside]
        kept += [inside[place] for place in telling([values[place] for place in inside])]
    return kept + after


curves = st.lists(st.tuples(st.integers(-50, 50), numbers), min_size=1, max_size=80)


@given(curves, st.integers(1, 12), st.integers(-60, 60), st.integers(1, 70))
def test_of_single_points_the_picture_is_that_of_a_look_at_every_point(
    rows: list[tuple[int, float]], width: int, low: int, span: int
) -> None:
    xs, values = [x for x, _ in rows], [value for _, value in rows]
    found = thinned(xs, values, range(len(xs)), values, width, low, low + span)
    assert found.places == naive(xs, values, width, low, low + span)


@given(curves, st.integers(1, 12))
@example([(3, 0.0)], 5)
def test_without_a_range_the_whole_line_is_drawn(rows: list[tuple[int, float]], width: int) -> None:
    xs, values = [x for x, _ in rows], [value for _, value in rows]
    found = thinned(xs, values, range(len(xs)), values, width)
    assert found.places == naive(xs, values, width, min(xs), max(xs))
    assert len(found.places) <= MOST_TELLING * width


@given(st.lists(tame, min_size=1, max_size=80), st.integers(1, 12))
def test_the_middles_of_the_columns_are_means(values: list[float], width: int) -> None:
    found = thinned(range(len(values)), values, range(len(values)), values, width)
    assert len(found.middles) <= width
    assert all(min(values) <= middle <= max(values) or math.isclose(middle, min(values)) for _, middle in found.middles)


@given(
    st.lists(numbers, min_size=1, max_size=9),
    st.integers(FEWEST_BLOCKS * BLOCK, 9 * BLOCK),
    st.booleans(),
    st.integers(1, 8),
)
def test_an_outline_draws_what_its_blocks_would(pattern: list[float], count: int, stepped: bool, width: int) -> None:
    values = [pattern[place * 7 % 31 % len(pattern)] for place in range(count)]
    points = Points([2 * n if stepped else None for n in range(count)], [0.5 * n for n in range(count)], values)
    kept = outline(pack(points))
    assert kept is not None and (kept.low_step, kept.high_step) == ((0, 2 * count - 2) if stepped else (None, None))
    line, timed, of_steps = Line(PLACE), Line(TIME), Line(STEP)
    line.add_outline(kept, 10)
    timed.add_outline(kept, 10)
    numbered = [int(place) - 11 for place in line.xs]
    assert timed.xs == [points.times[number] for number in numbered]
    if stepped:
        of_steps.add_outline(kept, 10)
        assert of_steps.xs == [points.steps[number] for number in numbered]
    assert len(line.starts) == len(line.means) == math.ceil(count / BLOCK)
    assert list(map(exactly, line.values)) == [exactly(values[number]) for number in numbered]
    found = thinned(line.xs, line.values, line.starts, line.means, width)
    # The same picture of whole blocks, looked at point by point.
    whole = thinned(
        range(11, 11 + count),
        values,
        range(0, count, BLOCK),
        [metric_curves.mean(values[start : start + BLOCK]) for start in range(0, count, BLOCK)],
        width,
    )
    assert [numbered[place] for place in found.places] == whole.places
    assert repr(found.middles) == repr(whole.middles)


def test_a_short_chunk_has_no_outline() -> None:
    count = FEWEST_BLOCKS * BLOCK - 1
    assert outline(pack(Points([None] * count, [0.0] * count, [1.0] * count))) is None
