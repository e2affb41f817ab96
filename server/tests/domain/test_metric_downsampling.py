"""A thinned curve keeps what the eye would see."""

import math

from hypothesis import given
from hypothesis import strategies as st

from runyard_server.domain.metric_chunks import Points
from runyard_server.domain.metric_downsampling import downsample


def curve(values: list[float]) -> Points:
    return Points(list(range(len(values))), [float(place) for place in range(len(values))], list(values))


@given(st.lists(st.floats(allow_nan=False), max_size=300), st.integers(4, 100))
def test_the_thinned_curve_is_a_part_of_the_curve_with_its_ends_and_extremes(values: list[float], most: int) -> None:
    thin = downsample(curve(values), most)
    assert len(thin.values) <= max(most, 0)
    assert thin.steps == sorted(set(thin.steps))  # type: ignore[type-var]
    assert thin.values == [values[step] for step in thin.steps if step is not None]
    if values:
        assert (thin.steps[0], thin.steps[-1]) == (0, len(values) - 1)
        assert min(thin.values) == min(values) and max(thin.values) == max(values)


def test_a_single_spike_among_a_million_points_survives() -> None:
    values = [0.0] * 1_000_000
    values[654_321], values[123_456] = 1.0, -1.0
    thin = downsample(curve(values), 500)
    assert 654_321 in thin.steps and 123_456 in thin.steps and len(thin.values) <= 500


def test_a_nan_survives_beside_the_greatest_of_its_stretch() -> None:
    values = [float(place) for place in range(1000)]
    values[500] = math.nan
    thin = downsample(curve(values), 10)
    assert 500 in thin.steps and max(value for value in thin.values if value == value) == 999.0


def test_nothing_but_nan_stays_nan() -> None:
    thin = downsample(curve([math.nan] * 100), 10)
    assert 2 <= len(thin.values) <= 10 and all(math.isnan(value) for value in thin.values)


def test_few_points_are_left_alone() -> None:
    points = curve([3.0, 1.0, 2.0])
    assert downsample(points, 4) is points
