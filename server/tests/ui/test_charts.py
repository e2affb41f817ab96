"""Charts as geometry: everything inside the picture, round ticks, gaps where there is no number."""

import math
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from runyard_server.services.curves import Curve
from runyard_server.ui.chart_settings import USUAL, ChartSettings, chosen
from runyard_server.ui.charts import CROWD, HEIGHT, WIDTH, Chart, chart

LOG_Y = ChartSettings(log_y=True)


def curve(values: Sequence[float], xs: Sequence[float] | None = None, axis: str = "place", run: str = "r1") -> Curve:
    xs = list(range(1, len(values) + 1)) if xs is None else xs
    middles = [(x, value) for x, value in zip(xs, values, strict=True) if math.isfinite(value)]
    return Curve(run, "loss", axis, len(values), xs, values, middles)


def drawn(*curves: Curve, settings: ChartSettings = USUAL) -> Chart:
    return chart("loss", curves, [each.run_id for each in curves], settings)


def points_of(polylines: Sequence[str]) -> list[tuple[float, ...]]:
    return [tuple(map(float, pair.split(","))) for line in polylines for pair in line.split(" ")]


@given(st.lists(st.floats(), min_size=2, max_size=30), st.booleans(), st.booleans(), st.sampled_from([0.0, 0.7]))
def test_every_point_lies_inside_the_picture(values: list[float], log_x: bool, log_y: bool, smooth: float) -> None:
    found = drawn(curve(values), settings=ChartSettings(log_x=log_x, log_y=log_y, smooth=smooth))
    fit = [value for value in values if math.isfinite(value) and (value > 0 or not log_y)]
    (line,) = found.lines
    points = points_of(line.polylines)
    assert len(points) == len(fit) == len(line.labels)
    assert found.gaps == len(values) - len(fit)
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    assert all(-1 <= tick.at <= HEIGHT + 1 for tick in found.y_ticks)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.0, 1.0], ["0", "0.25", "0.5", "0.75", "1"]),
        ([2.31, 0.04], ["0", "1", "2", "3"]),
        ([-3.0, 3.0], ["−4", "−2", "0", "2", "4"]),
        ([0.013, 0.014], ["0.013", "0.01325", "0.0135", "0.01375", "0.014"]),
    ],
)
def test_ticks_are_round_numbers(values: list[float], labels: list[str]) -> None:
    assert [tick.label for tick in drawn(curve(values)).y_ticks] == labels


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([1.0, 1000.0], ["1", "10", "100", "1,000"]),
        ([0.3, 0.04], ["0.02", "0.05", "0.1", "0.2", "0.5"]),
        ([5.0, 5.0], ["2", "5", "10"]),
        ([1e-300, 1e300], ["1e−300", "1e−180", "1e−60", "1e60", "1e180", "1e300"]),
    ],
)
def test_ticks_of_a_logarithmic_axis_are_powers_of_ten_and_what_lies_between(
    values: list[float], labels: list[str]
) -> None:
    assert [tick.label for tick in drawn(curve(values), settings=LOG_Y).y_ticks] == labels


def test_on_a_logarithmic_axis_each_power_of_ten_is_as_high_as_the_next() -> None:
    (line,) = drawn(curve([1.0, 10.0, 100.0]), settings=LOG_Y).lines
    ys = [y for _, y in points_of(line.polylines)]
    assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], abs=0.11)


def test_what_is_not_above_zero_is_a_gap_on_a_logarithmic_axis() -> None:
    found = drawn(curve([1.0, 2.0, 0.0, -1.0, 3.0, 4.0]), settings=LOG_Y)
    assert (len(found.lines[0].polylines), found.gaps) == (2, 2)


def test_a_level_line_has_room_above_and_below() -> None:
    ys = {y for _, y in points_of(drawn(curve([5.0, 5.0, 5.0])).lines[0].polylines)}
    assert len(ys) == 1 and 20 < ys.pop() < HEIGHT - 30


def test_what_is_no_number_breaks_the_line() -> None:
    found = drawn(curve([1.0, 2.0, math.nan, 3.0, math.inf, 2.0, 1.0]))
    assert [len(line.split(" ")) for line in found.lines[0].polylines] == [2, 1, 2]
    assert found.gaps == 2


def test_nothing_but_nan_is_a_picture_without_a_line() -> None:
    found = drawn(curve([math.nan, math.nan]), settings=LOG_Y)
    assert (found.lines[0].polylines, found.gaps) == ([], 2)


def test_the_axis_says_what_it_counts() -> None:
    found = drawn(curve([1.0, 2.0], xs=[100, 300], axis="step"))
    assert (found.axis, [tick.label for tick in found.x_ticks]) == ("step", ["100", "150", "200", "250", "300"])
    assert drawn(curve([1.0, 2.0], xs=[0.0, 20.0], axis="elapsed")).lines[0].labels[-1] == "20.0 s|2"
    at = 1_566_000_000.0
    wall = drawn(curve([1.0, 2.0], xs=[at, at + 7200], axis="time"))
    assert all(re.fullmatch(r"\d\d:\d\d", tick.label) for tick in wall.x_ticks) and len(wall.x_ticks) >= 2


def test_smoothing_begins_at_the_first_value_and_follows_what_comes() -> None:
    settings = ChartSettings(smooth=0.9)
    level, rising = (drawn(curve(values), settings=settings) for values in ([4.0] * 20, [0.0] * 10 + [1.0] * 10))
    assert points_of(level.lines[0].smoothed) == points_of(level.lines[0].polylines)
    raw, smooth = points_of(rising.lines[0].polylines), points_of(rising.lines[0].smoothed)
    assert smooth[:10] == raw[:10]
    heights = [y for _, y in smooth[10:]]
    assert heights == sorted(heights, reverse=True) and heights[0] > raw[10][1] + 50


def test_of_a_part_of_the_curve_the_axes_are_those_of_the_part() -> None:
    values = [float(place) for place in range(100)]
    settings = ChartSettings(zooms={"loss": (20.0, 30.0)})
    found = drawn(curve(values, xs=list(range(100)), axis="step"), settings=settings)
    assert (found.low, found.high, found.is_zoomed) == (20.0, 30.0, True)
    assert found.top == pytest.approx(30.0) and found.bottom == pytest.approx(20.0)


def test_many_lines_are_thin_and_carry_no_label_for_each_point() -> None:
    curves = [curve([0.0, 1.0], run=f"r{number}") for number in range(CROWD + 1)]
    few, many = drawn(*curves[:CROWD]), drawn(*curves)
    assert (few.is_crowded, many.is_crowded) == (False, True)
    assert few.lines[0].labels and not many.lines[0].labels


def test_several_runs_are_drawn_on_common_axes() -> None:
    found = drawn(curve([0.0, 1.0], run="a"), curve([10.0, 9.0, 8.0], run="b"))
    assert [line.run for line in found.lines] == [0, 1]
    assert (found.low, found.high, found.bottom, found.top) == (1, 3, 0, 10)


@given(st.text(max_size=30), st.lists(st.text(max_size=20), max_size=3), st.text(max_size=10))
def test_an_address_that_makes_no_sense_is_as_usual(smooth: str, zooms: list[str], x: str) -> None:
    said = chosen(QueryParams([("smooth", smooth), ("x", x), *(("zoom", zoom) for zoom in zooms), ("scale", "z")]))
    assert 0 <= said.smooth <= 0.99 and said.axis in ("step", "elapsed", "time")
    assert all(low < high for low, high in said.zooms.values()) and not said.log_x


@given(
    st.sampled_from(["step", "elapsed", "time"]),
    st.integers(0, 99),
    st.booleans(),
    st.booleans(),
    st.dictionaries(st.text(min_size=1, max_size=9), st.tuples(st.floats(-1e9, 0), st.floats(1e-3, 1e9)), max_size=2),
)
def test_every_view_is_a_link(
    axis: str, smooth: int, log_x: bool, log_y: bool, zooms: dict[str, tuple[float, float]]
) -> None:
    settings = ChartSettings(axis, smooth / 100, log_x, log_y, zooms)
    assert chosen(QueryParams(settings.query())) == settings
