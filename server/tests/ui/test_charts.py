"""Charts as geometry: everything inside the picture, round ticks, gaps where there is no number."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard_server.ui.charts import HEIGHT, WIDTH, chart


def history(values: list[float], steps: list[int | None] | None = None, count: int | None = None) -> dict[str, Any]:
    return {
        "name": "loss",
        "count": count or len(values),
        "steps": steps or [None] * len(values),
        "times": [100.0 + 10 * place for place in range(len(values))],
        "values": values,
    }


@given(st.lists(st.floats(), min_size=2, max_size=30))
def test_every_point_lies_inside_the_picture(values: list[float]) -> None:
    drawn = chart(history(values))
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        assert drawn is None
        return
    assert drawn is not None
    points = [tuple(map(float, pair.split(","))) for line in drawn.lines for pair in line.split(" ")]
    assert len(points) == len(finite) == len(drawn.labels)
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    assert all(0 <= tick.at <= HEIGHT for tick in drawn.y_ticks)


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
    drawn = chart(history(values))
    assert drawn is not None
    assert [tick.label for tick in drawn.y_ticks] == labels


def test_a_level_line_has_room_above_and_below() -> None:
    drawn = chart(history([5.0, 5.0, 5.0]))
    assert drawn is not None
    ys = {pair.split(",")[1] for pair in drawn.lines[0].split(" ")}
    assert len(ys) == 1 and 20 < float(ys.pop()) < HEIGHT - 30


def test_what_is_no_number_breaks_the_line() -> None:
    drawn = chart(history([1.0, 2.0, math.nan, 3.0, math.inf, 2.0, 1.0]))
    assert drawn is not None
    assert [len(line.split(" ")) for line in drawn.lines] == [2, 1, 2]
    assert drawn.gaps == 2


def test_the_axis_counts_steps_where_there_are_steps() -> None:
    drawn = chart(history([1.0, 2.0], steps=[100, 300]))
    assert drawn is not None
    assert drawn.axis == "step"
    assert [tick.label for tick in drawn.x_ticks] == ["100", "150", "200", "250", "300"]


def test_a_thinned_line_without_steps_is_drawn_over_time() -> None:
    drawn = chart(history([1.0, 2.0, 3.0], count=1000))
    assert drawn is not None
    assert (drawn.axis, drawn.labels[-1]) == ("time", "20.0 s|3")
