"""The shapes that Azure's ``get_metrics`` returns."""

from typing import Any

from runyard_server.domain.metric_chunks import Points
from runyard_server.domain.metric_shapes import dropped, shape
from runyard_server.domain.spool_lines import LIST, SCALAR, TABLE, Entry

IMAGE = "azureml.v2.image"


def points(*values: float, at: float = 0.0) -> Points:
    return Points([None] * len(values), [at] * len(values), list(values))


def entries(type_: str, *values: Any) -> list[Entry]:
    return [Entry("x", type_, float(number), value) for number, value in enumerate(values)]


def test_a_scalar_logged_once_is_bare_and_more_often_a_list() -> None:
    assert shape(SCALAR, [points(0.5)], []) == 0.5
    assert shape(SCALAR, [points(0.5), points(1, 2.5)], []) == [0.5, 1, 2.5]


def test_a_text_is_a_scalar_too_and_stands_among_the_numbers_by_its_time() -> None:
    texts = [Entry("x", SCALAR, 1.5, "between"), Entry("x", SCALAR, 9.0, "last")]
    assert shape(SCALAR, [], texts[:1]) == "between"
    assert shape(SCALAR, [points(1, at=1.0), points(2, 3, at=2.0)], texts) == [1, "between", 2, 3, "last"]


def test_a_list_is_a_list_even_of_one_and_lists_are_joined() -> None:
    assert shape(LIST, [], entries(LIST, [1])) == [1]
    assert shape(LIST, [], entries(LIST, [1, None], [], ["a"])) == [1, None, "a"]


def test_a_single_row_has_bare_cells_and_a_second_row_makes_lists() -> None:
    assert shape(TABLE, [], entries(TABLE, {"x": 1, "y": "a"})) == {"x": 1, "y": "a"}
    assert shape(TABLE, [], entries(TABLE, {"x": 1, "y": "a"}, {"x": 2, "y": "b"})) == {"x": [1, 2], "y": ["a", "b"]}


def test_missing_cells_of_rows_are_none() -> None:
    rows = entries(TABLE, {"x": 1}, {"y": 2}, {"x": 3, "z": 4})
    assert shape(TABLE, [], rows) == {"x": [1, None, 3], "y": [None, 2, None], "z": [None, None, 4]}


def test_tables_are_appended_and_uneven_columns_filled() -> None:
    tables = entries(TABLE, {"x": [1, 2], "y": [3]}, {"y": 4, "x": 5})
    assert shape(TABLE, [], tables) == {"x": [1, 2, 5], "y": [3, None, 4]}
    assert shape(TABLE, [], entries(TABLE, {"x": [1], "y": [2]})) == {"x": 1, "y": 2}
    assert shape(TABLE, [], entries(TABLE, {"x": [], "y": []})) == {"x": [], "y": []}


def test_of_images_and_documents_one_is_bare_and_several_are_a_list() -> None:
    assert shape(IMAGE, [], entries(IMAGE, "aml://a")) == "aml://a"
    assert shape(IMAGE, [], entries(IMAGE, "aml://a", "aml://b")) == ["aml://a", "aml://b"]


def test_what_is_of_another_type_than_the_metric_is_left_out() -> None:
    assert shape(SCALAR, [points(1)], entries(LIST, [2])) == 1
    assert shape(LIST, [points(1)], entries(LIST, [2])) == [2]
    assert dropped("x", LIST, {SCALAR}).startswith("'x' is a metric of type azureml.v1.list")
