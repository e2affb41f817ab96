import json
import os

import pytest

from runyard.errors import UserErrorException
from runyard.metric_logging import MetricLogging
from runyard.spool import Spool


class SpoolingRun(MetricLogging):
    """A run as in a job: its files are copied to a folder."""

    id = "exp_1566000000_0a1b2c3d"

    def __init__(self, folder):
        self.folder = str(folder)
        self.files = {}
        self._metric_spool = Spool(self.folder, "rank-0", now=lambda: 1566000000.5)

    def _add_file(self, run_path, local_path):
        with open(local_path, "rb") as file:
            self.files[run_path] = file.read()

    def records(self):
        path = os.path.join(self.folder, "rank-0.metrics")
        if not os.path.exists(path):
            return []
        with open(path) as file:
            return [json.loads(line) for line in file]


class OfflineRun(MetricLogging):
    id = "OfflineRun_1"


class ArrayLike:
    """What numpy arrays and PyTorch tensors have in common."""

    def __init__(self, values, ndim=1):
        self.values = values
        self.ndim = ndim

    def __iter__(self):
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return iter(self.values)

    def item(self):
        if self.ndim == 0:
            return self.values
        if len(self.values) != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return self.values[0]

    def tolist(self):
        return self.values


class EagerTensor:
    """A scalar of TensorFlow."""

    def __init__(self, value):
        self.value = value

    def numpy(self):
        return ArrayLike(self.value, ndim=0)


@pytest.fixture
def run(tmp_path):
    return SpoolingRun(tmp_path)


def test_log_writes_the_value_the_step_and_the_description(run):
    run.log("loss", 0.5)
    run.log("loss", 0.25, "how wrong it is", step=3)
    assert run.records() == [
        ["s", "loss", 0.5, 1566000000.5],
        ["s", "loss", 0.25, 1566000000.5, 3],
        ["d", "loss", "how wrong it is"],
    ]


@pytest.mark.parametrize(
    "value, plain",
    [
        (ArrayLike(0.5, ndim=0), 0.5),
        (ArrayLike([3]), 3),
        (EagerTensor(0.25), 0.25),
        (True, True),
        ("text", "text"),
        (__import__("decimal").Decimal("0.125"), 0.125),
        (type("Whole", (int,), {})(7), 7),
        (type("Real", (float,), {})(1.5), 1.5),
    ],
)
def test_scalars_of_other_types_are_converted(run, value, plain):
    run.log("x", value)
    (record,) = run.records()
    assert record[2] == plain and type(record[2]) is type(plain)


@pytest.mark.parametrize(
    "value", [[1, 2], (1,), range(3), (n for n in range(3)), {1: 2}, {1}, ArrayLike([1, 2]), ArrayLike([])]
)
def test_log_refuses_many_values_and_names_log_list(run, value):
    with pytest.raises(UserErrorException, match="log_list"):
        run.log("loss", value)
    assert run.records() == []


@pytest.mark.parametrize("value", [None, object(), b"bytes", 1j])
def test_log_refuses_what_is_no_number_or_text(run, value):
    with pytest.raises(UserErrorException, match="must be a number or text"):
        run.log("loss", value)


def test_log_refuses_an_integer_of_more_than_64_bits(run):
    with pytest.raises(UserErrorException, match="64 bits"):
        run.log("loss", 2**64)


def test_log_list_takes_every_kind_of_sequence(run):
    for value in ([1, 2.5, "a", None], (3,), range(2), ArrayLike([0.5]), (n for n in [7])):
        run.log_list("list", value)
    assert [record[3] for record in run.records()] == [[1, 2.5, "a", None], [3], [0, 1], [0.5], [7]]
    assert {record[2] for record in run.records()} == {"azureml.v1.list"}


@pytest.mark.parametrize("value", [5, "text", {"a": 1}, ArrayLike(5, ndim=0), None])
def test_log_list_refuses_a_single_value(run, value):
    with pytest.raises(UserErrorException, match="log_list"):
        run.log_list("list", value)


@pytest.mark.parametrize("value", [[[1, 2]], [{"a": 1}], [2**64], [object()]])
def test_log_list_refuses_what_is_no_cell(run, value):
    with pytest.raises(UserErrorException, match="list"):
        run.log_list("list", value)
    assert run.records() == []


def test_a_row_and_a_table_are_entries_of_columns(run):
    run.log_row("table", "what it is", epoch=1, loss=ArrayLike(0.5, ndim=0), note=None)
    run.log_table("table", {"epoch": [2, 3], "loss": ArrayLike([0.25, float("inf")]), "note": "one"})
    assert run.records() == [
        ["e", "table", "azureml.v1.table", {"epoch": 1, "loss": 0.5, "note": None}, 1566000000.5],
        ["d", "table", "what it is"],
        [
            "e",
            "table",
            "azureml.v1.table",
            {"epoch": [2, 3], "loss": [0.25, float("inf")], "note": "one"},
            1566000000.5,
        ],
    ]


def test_a_row_without_columns_and_a_table_that_is_none_are_refused(run):
    with pytest.raises(UserErrorException, match="keyword arguments"):
        run.log_row("table")
    for value in ([1], {}, None, "x"):
        with pytest.raises(UserErrorException, match="dictionary of columns"):
            run.log_table("table", value)
    with pytest.raises(UserErrorException, match="cells"):
        run.log_table("table", {"x": [[1]]})
    with pytest.raises(UserErrorException, match="list of cells"):
        run.log_table("table", {"x": {"a": 1}})


def test_a_plot_becomes_a_file_of_the_run_and_its_location_the_metric(run):
    class Plot:
        def savefig(self, path, format):
            with open(path, "wb") as file:
                file.write(b"\x89PNG" + format.encode())

    run.log_image("val/curve", plot=Plot())
    run.log_image("val/curve", plot=Plot())
    assert list(run.files.values()) == [b"\x89PNGpng"] * 2
    for path, record in zip(run.files, run.records()):
        assert path.startswith("val_curve_") and path.endswith(".png")
        location = "aml://artifactId/ExperimentRun/dcid.exp_1566000000_0a1b2c3d/" + path
        assert record == ["e", "val/curve", "azureml.v2.image", location, 1566000000.5]


def test_an_image_file_keeps_its_ending(run, tmp_path):
    (tmp_path / "picture.jpg").write_bytes(b"jpg")
    run.log_image("../..", path=str(tmp_path / "picture.jpg"))
    ((path, content),) = run.files.items()
    assert path.startswith("image_") and path.endswith(".jpg") and content == b"jpg"


def test_an_image_needs_either_a_file_that_is_there_or_a_plot(run, tmp_path):
    with pytest.raises(UserErrorException, match="one of them"):
        run.log_image("x")
    with pytest.raises(UserErrorException, match="one of them"):
        run.log_image("x", path="a", plot="b")
    with pytest.raises(UserErrorException, match="savefig"):
        run.log_image("x", plot="b")
    with pytest.raises(UserErrorException, match="no file"):
        run.log_image("x", path=str(tmp_path / "missing.png"))


@pytest.mark.parametrize("schema", ["confusion_matrix", "accuracy_table", "residuals", "predictions"])
def test_azures_documents_are_taken_as_dictionary_or_text(run, schema):
    document = {"schema_type": schema, "schema_version": "1.0.0", "data": {"matrix": [[1, 2.5], ["a", None]]}}
    method = getattr(run, "log_" + schema)
    method("doc", document)
    method("doc", json.dumps(document))
    with_arrays = dict(document, data={"matrix": ArrayLike([[1, 2.5], ["a", None]])})
    method("doc", with_arrays)
    assert [record[2:4] for record in run.records()] == [["azureml.v2." + schema, document]] * 3


@pytest.mark.parametrize("value", [None, 3, [], {}, "{", "[]", {"schema_type": "predictions"}, {"data": {}}])
def test_a_document_of_another_form_is_refused_with_the_form_it_needs(run, value):
    with pytest.raises(UserErrorException, match="schema_type|not JSON"):
        run.log_confusion_matrix("doc", value)
    assert run.records() == []


def test_a_document_that_is_nested_without_end_is_refused(run):
    deep = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(UserErrorException, match="nested"):
        run.log_residuals("doc", {"schema_type": "residuals", "data": {"x": deep}})


def test_outside_a_job_a_run_prints_what_it_would_have_logged(capsys, tmp_path):
    run = OfflineRun()
    run.log("loss", ArrayLike(0.5, ndim=0))
    run.log_list("list", (1, 2))
    run.log_row("row", x=1)
    (tmp_path / "a.png").write_bytes(b"")
    run.log_image("image", path=str(tmp_path / "a.png"))
    assert capsys.readouterr().out == (
        "Attempted to log scalar metric loss:\n0.5\n"
        "Attempted to log list metric list:\n[1, 2]\n"
        "Attempted to log row metric row:\n{{'x': 1}}\n"
        "Attempted to log image metric image:\n{}\n".format(tmp_path / "a.png")
    )


def test_outside_a_job_wrong_values_are_refused_just_the_same():
    run = OfflineRun()
    with pytest.raises(UserErrorException, match="log_list"):
        run.log("loss", [1])
    with pytest.raises(UserErrorException, match="64 bits"):
        run.log("loss", 2**64)
    with pytest.raises(UserErrorException, match="255"):
        run.log("n" * 256, 1)
