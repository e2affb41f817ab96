"""Parallel coordinates: what differs in numbers is an axis, and each run a line across them."""

from hypothesis import given
from hypothesis import strategies as st

from runyard_server.ui.parallel import HEIGHT, MOST_AXES, WIDTH, numeric, parallel


def test_a_run_is_a_line_from_its_arguments_to_its_metrics() -> None:
    found = parallel({"rate": [0.1, 0.2], "same": [1.0, 1.0]}, {"loss": [0.9, 0.5]})
    assert found is not None
    assert [(axis.title, axis.low, axis.high) for axis in found.axes] == [
        ("rate", "0.1", "0.2"),
        ("loss", "0.5", "0.9"),
    ]
    assert found.lines == [(0, ["64.0,194.0 696.0,24.0"]), (1, ["64.0,24.0 696.0,194.0"])]


def test_a_run_that_lacks_a_value_is_a_broken_line() -> None:
    found = parallel({"a": [1.0, 2.0], "b": [None, 3.0], "c": [1.0, 2.0]}, {"d": [5.0, float("nan")], "b2": [4.0, 1.0]})
    assert found is not None
    assert [(run, len(pieces)) for run, pieces in found.lines] == [(0, 1), (1, 1)]


def test_names_are_no_axis_and_one_axis_is_no_picture() -> None:
    assert numeric(["0.1", "adam", None]) == []
    assert numeric(["0.1", None]) == [0.1, None]
    assert parallel({"rate": [0.1, 0.2]}, {"loss": [1.0, 1.0]}) is None


@given(st.lists(st.lists(st.floats() | st.none(), min_size=3, max_size=3), max_size=12))
def test_every_line_lies_inside_the_picture(columns: list[list[float | None]]) -> None:
    found = parallel({}, {str(place): values for place, values in enumerate(columns)})
    if found is not None:
        assert 2 <= len(found.axes) <= MOST_AXES
        pairs = [pair.split(",") for _, pieces in found.lines for piece in pieces for pair in piece.split(" ")]
        assert all(0 <= float(x) <= WIDTH and 0 <= float(y) <= HEIGHT for x, y in pairs)
