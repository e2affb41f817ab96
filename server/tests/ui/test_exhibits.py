"""What was logged and is no number, on the page of its run: pictures, tables, matrices, of any size and shape."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard.protocol.codec import from_json
from runyard.protocol.exhibits import Exhibits
from runyard.protocol.runs import RunRecord
from runyard_server.domain import documents, sheets
from runyard_server.domain.documents import Shown, UnlikeAzures
from runyard_server.domain.spool_lines import (
    ACCURACY_TABLE,
    CONFUSION_MATRIX,
    IMAGE,
    LIST,
    PREDICTIONS,
    RESIDUALS,
    TABLE,
)
from runyard_server.services.exhibits import MOST
from runyard_server.ui import exhibits
from runyard_server.ui.exhibits import Exhibit

from .conftest import Shelf

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)


def logged(shelf: Shelf, *entries: tuple[str, str, Any]) -> RunRecord:
    """A run that logged these: name, type, value."""
    run = shelf.run()
    lines = [json.dumps(["e", name, type_, value, 1.5 + place]) for place, (name, type_, value) in enumerate(entries)]
    shelf.server.services.metrics.take(run.id, "w", 0, ("\n".join(lines) + "\n").encode())
    return run


def shown(shelf: Shelf, run: RunRecord, search: str = "") -> list[Exhibit]:
    files = {file.path: file.size for file in shelf.server.services.files.list(run.id)}
    return list(exhibits.look(shelf.server.services, run.id, search, lambda: files).shown)


def page(shelf: Shelf, run: RunRecord, live: bool = False) -> str:
    answer = shelf.visitor.get(f"/runs/{run.id}" + "/live" * live)
    assert answer.status_code == 200
    return answer.text


def image(run: RunRecord, path: str) -> tuple[str, str, Any]:
    return "samples", IMAGE, f"aml://artifactId/ExperimentRun/dcid.{run.id}/{path}"


def test_the_newest_pictures_are_drawn_each_with_its_number(shelf: Shelf) -> None:
    run = shelf.run()
    for number in range(10):
        shelf.put(run, f"samples_{number}.png", PNG)
    lines = [json.dumps(["e", *image(run, f"samples_{number}.png"), 1.5]) for number in range(10)]
    shelf.server.services.metrics.take(run.id, "w", 0, ("\n".join(lines) + "\n").encode())

    (found,) = shown(shelf, run)
    assert [picture.caption for picture in found.pictures] == [f"no. {number}" for number in range(3, 11)]
    assert found.note == "the newest 8 of 10; all are among the files"
    assert f'<img src="/runs/{run.id}/pictures/samples_9.png" alt="samples, no. 10"' in page(shelf, run)
    assert "samples_9.png" in page(shelf, run, live=True)
    assert shelf.visitor.get(found.pictures[0].address).headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    "location",
    [
        "https://elsewhere.example/x.png",
        "aml://artifactId/ExperimentRun/dcid.other/x.png",
        {"a": 1},
        None,
        "../../x.png",
    ],
)
def test_a_picture_that_is_no_file_of_the_run_is_told_and_nothing_is_loaded(shelf: Shelf, location: Any) -> None:
    run = logged(shelf, ("samples", IMAGE, location))
    (found,) = shown(shelf, run)
    assert [(picture.address, picture.page) for picture in found.pictures] == [("", "")]
    text = page(shelf, run)
    assert "its file is not here" in text
    assert "elsewhere.example" not in text.partition('data-part="exhibits"')[2]


def test_a_picture_that_browsers_do_not_draw_is_a_link(shelf: Shelf) -> None:
    run = shelf.run()
    shelf.put(run, "plot.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    line = json.dumps(["e", *image(run, "plot.svg"), 1.5])
    shelf.server.services.metrics.take(run.id, "w", 0, (line + "\n").encode())
    ((picture,),) = [found.pictures for found in shown(shelf, run)]
    assert picture.address == ""
    assert f'<a href="/runs/{run.id}/files/plot.svg">' in page(shelf, run)


def test_rows_that_come_one_by_one_are_a_table_and_lines_over_the_column_that_rises(shelf: Shelf) -> None:
    rows = [("epochs", TABLE, {"epoch": 2 * n, "loss": 1 / (n + 1), "pictures": 60_000 * n}) for n in range(150)]
    (found,) = shown(shelf, logged(shelf, *rows))
    assert found.sheet is not None
    assert found.sheet.titles == ["epoch", "loss", "pictures"]
    assert found.sheet.rows[-1] == ["298", "0.0066667", "8,940,000"]
    assert found.note == "the last 100 of 150 rows"
    assert [plot.chart.name for plot in found.figures] == [
        "pictures",
        "loss",
    ]  # one would lie on the ground of the other
    assert {(plot.chart.axis_title, plot.chart.high) for plot in found.figures} == {("epoch", 298)}


def test_of_rows_without_end_the_last_ones_are_shown(shelf: Shelf) -> None:
    (found,) = shown(shelf, logged(shelf, *(("rows", TABLE, {"n": n}) for n in range(1200))))
    assert found.note == "the last 100 of 1,000 rows of the last 1,000 of 1,200 entries"
    assert found.sheet is not None
    assert found.sheet.rows[-1] == ["1,199"]


def test_a_list_is_a_line_and_a_column(shelf: Shelf) -> None:
    (found,) = shown(shelf, logged(shelf, ("fibonacci", LIST, [1, 1, 2, 3, 5])))
    ((plot,), sheet) = (found.figures, found.sheet)
    assert sheet is not None
    assert [row[0] for row in sheet.rows] == ["1", "1", "2", "3", "5"]
    assert (plot.chart.axis, plot.chart.low, plot.chart.high, plot.chart.last) == ("row", 1, 5, "5")


def test_a_list_of_things_is_a_table_without_a_line(shelf: Shelf) -> None:
    (found,) = shown(shelf, logged(shelf, ("words", TABLE, {"word": ["a", "the"], "count": [3, 1]})))
    assert found.figures == []
    assert found.sheet is not None
    assert found.sheet.numeric == [False, True]


@pytest.mark.parametrize("name", ["time", "elapsed", "step"])
def test_a_column_is_no_axis_of_ours_whatever_its_name(shelf: Shelf, name: str) -> None:
    run = logged(shelf, ("t", TABLE, {name: [1.7e12, 1.7e12 + 0.5, 1e300], "loss": [3, 2, 1]}))
    (found,) = shown(shelf, run)
    assert [plot.chart.axis_title for plot in found.figures] == [name]
    assert "wall time, UTC</p>" not in page(shelf, run) and f"{name}</p>" in page(shelf, run)


def test_columns_of_unequal_length_do_not_make_millions_of_cells(shelf: Shelf) -> None:
    value = {"long": [1] * 20_000, **{f"b{n}": 1 for n in range(2000)}}
    (found,) = shown(shelf, logged(shelf, ("t", TABLE, value)))
    assert found.sheet is None and "too large" in found.note


def test_a_moment_that_no_calendar_has_is_shown_as_it_was_written(shelf: Shelf) -> None:
    run = shelf.run()
    shelf.put(run, "a.png", PNG)
    line = json.dumps(["e", *image(run, "a.png"), 1e18]) + "\n"
    shelf.server.services.metrics.take(run.id, "w", 0, line.encode())
    assert "1e+18 s" in page(shelf, run)


def matrix(size: int) -> dict[str, Any]:
    cells = [[10 if row == column else row % 3 for column in range(size)] for row in range(size)]
    return {"schema_type": "confusion_matrix", "data": {"class_labels": list(map(str, range(size))), "matrix": cells}}


def test_a_confusion_matrix_has_its_numbers_and_says_without_colour_which_are_right(shelf: Shelf) -> None:
    run = logged(shelf, ("confusion", CONFUSION_MATRIX, matrix(3)))
    (found,) = shown(shelf, run)
    assert found.matrix is not None
    assert [cell.text for cell in found.matrix.rows[1].cells] == ["1", "10", "1"]
    assert [cell.is_right for cell in found.matrix.rows[1].cells] == [False, True, False]
    assert found.matrix.rows[1].recall == "83.3 %"
    assert found.note == "83.33 % right"
    text = page(shelf, run)
    assert '<td class="h9 right">10</td>' in text
    assert " style=" not in text


def test_of_many_classes_those_are_shown_that_were_mistaken_most(shelf: Shelf) -> None:
    data = matrix(300)
    data["data"]["matrix"][7] = [50 if column != 7 else 1 for column in range(300)]
    (found,) = shown(shelf, logged(shelf, ("confusion", CONFUSION_MATRIX, data)))
    assert found.matrix is not None
    assert len(found.matrix.rows) == len(found.matrix.labels) == documents.MOST_CLASSES
    assert "7" in found.matrix.labels
    assert found.note.endswith("the 25 of 300 classes that were mistaken most")


def test_ten_thousand_classes_are_refused_in_words(shelf: Shelf) -> None:
    data = {"class_labels": list(map(str, range(10_000))), "matrix": [[]] * 10_000}
    (found,) = shown(shelf, logged(shelf, ("confusion", CONFUSION_MATRIX, {"data": data})))
    assert found.note == "It cannot be drawn: a matrix of 10,000 classes is too large to be looked at here."


def test_a_table_of_many_megabytes_is_not_read(shelf: Shelf) -> None:
    large = {"text": ["x" * 1000] * 5000}
    run = logged(shelf, ("large", TABLE, large), ("small", TABLE, {"a": [1, 2]}))
    found = shown(shelf, run)
    assert found[0].note == "It is too large for a page: run.get_metrics() gives it to a program."
    assert found[1].sheet is not None
    assert len(page(shelf, run)) < 100_000


def test_all_tables_of_a_page_together_are_no_larger_than_it_bears(shelf: Shelf) -> None:
    of_3_mb = {"text": ["x" * 1000] * 3000}
    found = shown(shelf, logged(shelf, *((f"t{n:02}", TABLE, of_3_mb) for n in range(4))))
    assert [each.sheet is not None for each in found] == [True, True, False, False]


def test_more_than_a_page_shows_is_found_by_a_part_of_its_name(shelf: Shelf) -> None:
    run = logged(shelf, *((f"t{n:02}", TABLE, {"a": [1]}) for n in range(MOST + 3)))
    assert "3 more pictures and tables" in page(shelf, run)
    assert [each.name for each in shown(shelf, run, "T14")] == ["t14"]


def test_residuals_are_a_histogram(shelf: Shelf) -> None:
    data = {"data": {"bin_edges": [-1, 0, 1], "bin_counts": [3, 5], "mean": 0.25}}
    (found,) = shown(shelf, logged(shelf, ("residuals", RESIDUALS, data)))
    ((plot,), sheet) = (found.figures, found.sheet)
    assert sheet is not None
    assert sheet.rows == [["−1", "0", "3"], ["0", "1", "5"]]
    assert (plot.chart.low, plot.chart.high, plot.chart.bottom) == (-1, 1, 0)
    assert found.note == "mean 0.25"


def test_predictions_are_drawn_beside_the_ideal(shelf: Shelf) -> None:
    data = {"bin_edges": [0, 0.5, 1], "bin_averages": [0.2, 0.7], "bin_errors": [0.1, 0.1], "bin_counts": [5, 9]}
    (found,) = shown(shelf, logged(shelf, ("predictions", PREDICTIONS, {"data": data})))
    (plot,) = found.figures
    assert plot.labels == ["predicted", "ideal", "predicted + error", "predicted − error"]
    assert found.sheet is not None
    assert found.sheet.titles == ["from", "to", "predicted", "error", "count"]


def test_an_accuracy_table_gives_the_area_under_the_curve_of_each_class() -> None:
    perfect, chance = [[10, 0, 10, 0], [10, 10, 0, 0]], [[0, 0, 10, 10], [10, 10, 0, 0]]
    found = documents.accuracy_table({"class_labels": ["cat", "dog"], "probability_tables": [perfect, chance]})
    assert found.sheet is not None
    assert found.sheet.rows == [["cat", "1"], ["dog", "0.5"]]
    assert [[line.label for line in plot.strokes] for plot in found.plots] == [["cat", "dog"]] * 2


@pytest.mark.parametrize(
    ("draw", "data", "said"),
    [
        (documents.confusion_matrix, {}, "no 'class_labels'"),
        (documents.confusion_matrix, {"class_labels": ["a"], "matrix": [["x"]]}, "not one number for each"),
        (documents.confusion_matrix, {"class_labels": ["a", "b"], "matrix": [[1, 2]]}, "not one row for each"),
        (documents.residuals, {"bin_edges": [1, 2], "bin_counts": [1, 2]}, "not one more"),
        (documents.residuals, {"bin_edges": [1, float("nan")], "bin_counts": [1]}, "no list of finite numbers"),
        (documents.predictions, {"bin_edges": [1]}, "'bin_averages' is no list"),
        (documents.accuracy_table, {"class_labels": ["a"], "probability_tables": [[[1, 2]]]}, "not four counts"),
    ],
)
def test_a_document_of_another_shape_is_told_what_it_lacks(draw: Callable[[Any], Shown], data: Any, said: str) -> None:
    with pytest.raises(UnlikeAzures, match=said):
        draw(data)


DRAWN = [documents.confusion_matrix, documents.residuals, documents.predictions, documents.accuracy_table]


@given(
    st.sampled_from(DRAWN),
    JSON
    | st.fixed_dictionaries(
        {
            "class_labels": st.lists(JSON, max_size=3),
            "matrix": st.lists(st.lists(st.integers() | st.floats(), max_size=3), max_size=3),
            "bin_edges": st.lists(st.floats(), max_size=4),
            "bin_counts": st.lists(st.floats(), max_size=3),
            "bin_averages": st.lists(st.floats(), max_size=3),
            "bin_errors": JSON,
            "probability_tables": st.lists(
                st.lists(st.lists(st.floats(), min_size=4, max_size=4), max_size=3), max_size=3
            ),
        }
    ),
)
def test_whatever_a_document_holds_it_is_drawn_or_told_why_not(draw: Callable[[Any], Shown], data: Any) -> None:
    try:
        assert isinstance(draw(data), Shown)
    except UnlikeAzures as fault:
        assert str(fault)


@given(
    st.dictionaries(st.text(max_size=5), JSON | st.lists(st.floats() | st.none(), max_size=6), max_size=4),
    st.booleans(),
)
def test_whatever_a_table_holds_it_is_shown(value: dict[str, Any], grows: bool) -> None:
    columns = sheets.columns_of(value)
    found = sheets.sheet(columns, grows)
    assert all(len(row) == len(found.titles) and all(len(text) <= 200 for text in row) for row in found.rows)
    assert len(sheets.plots("t", columns, grows)) <= sheets.MOST_CHARTS


def test_programs_are_given_what_the_page_shows(shelf: Shelf) -> None:
    run = logged(
        shelf,
        ("confusion", CONFUSION_MATRIX, matrix(3)),
        ("epochs", TABLE, {"epoch": [1, 2, 3], "loss": [3, math.nan, 1]}),
        ("samples", IMAGE, "aml://artifactId/ExperimentRun/dcid.other/x.png"),
    )
    answer = shelf.visitor.get(f"/api/v1/runs/{run.id}/metrics/exhibits?limit=2")
    given = from_json(Exhibits, json.loads(answer.text))
    assert repr(given) == repr(shelf.server.services.exhibits.of(run.id, most=2))
    assert ([one.name for one in given.shown], given.more) == (["confusion", "epochs"], 1)
    assert [line.label for line in given.shown[1].plots[0].strokes] == ["loss"]
    assert shelf.visitor.get(f"/api/v1/runs/{run.id}/metrics/exhibits?limit=13").status_code == 422
    assert shelf.visitor.get("/api/v1/runs/none/metrics/exhibits").status_code == 404


def test_nothing_that_was_logged_is_markup(shelf: Shelf) -> None:
    hostile = "<script>alert('x')</script>&\"'"
    run = logged(
        shelf,
        (hostile, TABLE, {hostile: [hostile, 1], "n": [1, 2]}),
        ("list", LIST, [hostile]),
        ("confusion", CONFUSION_MATRIX, {"data": {"class_labels": [hostile, "b"], "matrix": [[1, 0], [0, 1]]}}),
        ("accuracy", ACCURACY_TABLE, {"data": {"class_labels": [hostile], "probability_tables": [[[1, 0, 1, 0]] * 2]}}),
        ("unknown", "another.type", {hostile: 1}),
    )
    text = page(shelf, run)
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
