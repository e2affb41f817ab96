"""What code written for Azure ML SDK v1 relies on, through the whole system: shapes, keys, printed frames."""

import json
from collections.abc import Callable
from pathlib import Path
from urllib.request import HTTPCookieProcessor, build_opener

import pytest

from runyard import AmlCompute, ComputeTarget, Environment, Estimator, Experiment, Model, Run, Workspace
from runyard.errors import ModelNotFoundException, ModelPathNotFoundException, RunEnvironmentException

Submit = Callable[..., Run]

MATRIX = {
    "schema_type": "confusion_matrix",
    "schema_version": "v1",
    "data": {"class_labels": ["0", "1"], "matrix": [[3, 0], [0, 1]]},
}
TABLE = {
    "schema_type": "accuracy_table",
    "schema_version": "v1",
    "data": {
        "probability_tables": [[[1, 2, 3, 4]]],
        "percentile_tables": [[[1, 2, 3, 4]]],
        "probability_thresholds": [0.5],
        "percentile_thresholds": [0.5],
        "class_labels": ["0"],
    },
}
RESIDUALS = {"schema_type": "residuals", "schema_version": "v1", "data": {"bin_edges": [1, 2], "bin_counts": [3]}}
PREDICTIONS = {"schema_type": "predictions", "schema_version": "v1", "data": {"bin_averages": [1], "bin_errors": [2]}}

LOGS = f"""
from runyard import Run
run = Run.get_context()
run.log("once", 1, description="one value")
run.log("twice", 1)
run.log("twice", 2.5)
run.log("text", "x")
run.log_list("list", [1, 2])
run.log_list("list", [3])
run.log_row("row", x=1, y=2)
run.log_row("rows", x=1, y=2)
run.log_row("rows", x=3, z=4)
run.log_table("table", {{"a": [1, 2], "b": [3, 4]}})
run.log_table("table", {{"a": 5}})
open("drawing.png", "wb").write(b"the bytes of a picture")
run.log_image("picture", path="drawing.png")
run.log_confusion_matrix("matrix", {MATRIX!r})
run.log_accuracy_table("accuracies", {json.dumps(TABLE)!r})
run.log_residuals("residuals", {RESIDUALS!r})
run.log_predictions("predictions", {PREDICTIONS!r})
run.log("mixed", 1)
run.log_list("mixed", [1, 2])
run.flush()
print(run.get_metrics("twice"))
"""


def log_of(run: Run) -> str:
    return run._read_log("azureml-logs/70_driver_log.txt")


def test_every_log_method_comes_back_in_azures_shape(submit: Submit, capsys: pytest.CaptureFixture[str]) -> None:
    run = submit(LOGS)
    run.wait_for_completion()
    assert log_of(run) == "{'twice': [1, 2.5]}\n"

    metrics = run.get_metrics()

    picture = metrics.pop("picture")
    assert metrics == {
        "once": 1,
        "twice": [1, 2.5],
        "text": "x",
        "list": [1, 2, 3],
        "row": {"x": 1, "y": 2},
        "rows": {"x": [1, 3], "y": [2, None], "z": [None, 4]},
        "table": {"a": [1, 2, 5], "b": [3, 4, None]},
        "matrix": MATRIX,
        "accuracies": TABLE,
        "residuals": RESIDUALS,
        "predictions": PREDICTIONS,
        "mixed": 1,
    }
    assert "'mixed' is a metric of type azureml.v1.scalar" in capsys.readouterr().err
    beginning, _, name = picture.rpartition("/")
    assert beginning == f"aml://artifactId/ExperimentRun/dcid.{run.id}"
    assert name in run.get_file_names()
    assert run.get_metrics("picture", populate=True) == {"picture": b"the bytes of a picture"}
    assert run.get_metrics("no such metric") == {}
    assert run.get_metrics(recursive=True)[run.id]["once"] == 1


def test_details_have_azures_keys(submit: Submit) -> None:
    run = submit("print('hello')\n", arguments=["--rate", 0.1])

    details = run.wait_for_completion()

    assert {
        "runId",
        "target",
        "status",
        "startTimeUtc",
        "endTimeUtc",
        "services",
        "properties",
        "inputDatasets",
        "outputDatasets",
        "runDefinition",
        "logFiles",
        "submittedBy",
    } == set(details)
    assert details["startTimeUtc"].endswith("Z")
    assert details["properties"]["ContentSnapshotId"] == run.get_snapshot_id()
    definition = details["runDefinition"]
    assert {
        "script": "train.py",
        "arguments": ["--rate", "0.1"],
        "target": "local",
        "framework": "Python",
        "communicator": "None",
        "nodeCount": 1,
        "maxRunDurationSeconds": 2592000,
        "dataReferences": {},
    }.items() <= definition.items()
    assert {"command", "environment", "history", "tensorflow", "mpi", "sourceDirectoryDataStore"} <= set(definition)
    json.dumps(details)
    assert run.get_details_with_logs()["logFiles"]["azureml-logs/70_driver_log.txt"] == "hello\n"


def test_the_address_of_a_log_opens_without_a_login(submit: Submit) -> None:
    run = submit("print('shown in a browser')\n")
    run.wait_for_completion()
    address = run.get_details()["logFiles"]["azureml-logs/70_driver_log.txt"]
    browser = build_opener(HTTPCookieProcessor())  # the address leaves a cookie and leads on without its ticket
    with browser.open(address) as page:
        assert "shown in a browser" in page.read().decode()


def test_following_prints_azures_frame(submit: Submit, capsys: pytest.CaptureFixture[str]) -> None:
    run = submit("print('hello')\n")
    run.wait_for_completion(show_output=True)
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    assert lines[0] == f"RunId: {run.id}"
    assert lines[1].startswith("Web View: http")
    streaming = lines.index("Streaming azureml-logs/70_driver_log.txt")
    assert set(lines[streaming + 1]) == {"="}
    assert lines[streaming + 2] == "hello"
    summary = lines.index("Execution Summary")
    assert lines[summary + 2] == f"RunId: {run.id}"
    assert lines[summary + 3].startswith("Web View: http")


def test_a_model_takes_the_runs_files_and_its_name_is_the_default_path(submit: Submit, workspace: Workspace) -> None:
    run = submit("open('outputs/whole', 'w').write('1')\n")
    run.wait_for_completion()
    run.upload_file("by-name", __file__)
    assert run.register_model("by-name").version == 1
    model = run.register_model("by-name", "outputs/whole", model_framework=Model.Framework.TENSORFLOW)
    assert (model.id, model.version, model.run_id, model.experiment_name) == ("by-name:2", 2, run.id, "tests")
    assert Model(workspace, "by-name").version == 2
    assert [each.id for each in Model.list(workspace, "by-name")] == ["by-name:2", "by-name:1"]
    with pytest.raises(ModelPathNotFoundException, match="outputs/whole"):
        run.register_model("by-name", "outputs/other")


def test_a_script_finds_a_registered_model_by_its_name(submit: Submit, workspace: Workspace, tmp_path: Path) -> None:
    for text in ("first", "second"):
        (tmp_path / "net").mkdir(exist_ok=True)
        (tmp_path / "net" / "weights").write_text(text)
        Model.register(workspace, str(tmp_path / "net"), "found")
    run = submit(
        "import os\nfrom runyard import Model\n"
        "for version in (None, 1):\n"
        "    path = Model.get_model_path('found', version)\n"
        "    print(path, open(os.path.join(path, 'weights')).read())\n"
    )
    run.wait_for_completion()
    assert log_of(run) == "azureml-models/found/2/net second\nazureml-models/found/1/net first\n"


def test_a_model_that_is_not_there_is_not_found_by_name(workspace: Workspace) -> None:
    with pytest.raises(ModelNotFoundException, match="ModelNotFound"):
        Model(workspace, "never-registered")


def test_experiments_are_listed_by_view_and_tag(workspace: Workspace) -> None:
    for name in ("kept", "put-away"):
        with Experiment(workspace, name).start_logging(snapshot_directory=None):
            pass
    kept, archived = Experiment(workspace, "kept"), Experiment(workspace, "put-away")
    kept.set_tags({"team": "vision"})
    archived.archive()

    def names(**wanted: object) -> set[str]:
        return {found.name for found in Experiment.list(workspace, **wanted)} & {"kept", "put-away"}

    assert names() == {"kept"}
    assert names(view_type="ArchivedOnly") == {"put-away"}
    assert names(view_type="All") == {"kept", "put-away"}
    assert names(tags=("team", "vision")) == {"kept"}
    assert names(tags="nobody") == set()
    archived.reactivate()
    assert names() == {"kept", "put-away"}


def test_tags_without_a_value_are_bare_marks(submit: Submit) -> None:
    run = submit("from runyard import Run\nRun.get_context().tag('from inside')\n", tags={"number": 3})
    run.tag("from outside")
    run.wait_for_completion()
    assert run.get_tags() == {"number": "3", "from outside": "", "from inside": ""}
    run.remove_tags(["number"])
    assert "number" not in run.tags


def test_children_are_found_by_tag_property_status_and_depth(workspace: Workspace) -> None:
    with Experiment(workspace, "family").start_logging(snapshot_directory=None) as parent:
        good, bad = parent.create_children(tag_key="fold", tag_values=[1, 2])
        good.add_properties({"kind": "good"})
        grandchild = good.child_run("deeper")
        for each in (grandchild, good):
            each.complete()
        bad.fail("no luck")

    def ids(**wanted: object) -> set[str]:
        return {child.id for child in parent.get_children(**wanted)}

    assert ids() == {good.id, bad.id}
    assert ids(tags={"fold": "1"}) == {good.id}
    assert ids(properties={"kind": "good"}) == {good.id}
    assert ids(status="Failed") == {bad.id}
    assert ids(recursive=True) == {good.id, bad.id, grandchild.id}


def test_a_cluster_is_serialized_under_azures_keys_in_their_order(workspace: Workspace) -> None:
    config = AmlCompute.provisioning_configuration("STANDARD_D2_V2", max_nodes=2, idle_seconds_before_scaledown=60)
    status = ComputeTarget.create(workspace, "serialized", config).get_status().serialize()
    assert list(status) == [
        "currentNodeCount",
        "targetNodeCount",
        "nodeStateCounts",
        "allocationState",
        "allocationStateTransitionTime",
        "errors",
        "creationTime",
        "modifiedTime",
        "provisioningState",
        "provisioningStateTransitionTime",
        "scaleSettings",
        "vmPriority",
        "vmSize",
    ]
    assert (status["provisioningState"], status["allocationState"], status["vmSize"]) == (
        "Succeeded",
        "Steady",
        "STANDARD_D2_V2",
    )
    assert status["scaleSettings"] == {"minNodeCount": 0, "maxNodeCount": 2, "nodeIdleTimeBeforeScaleDown": "PT60S"}


def test_an_estimators_parameters_become_arguments_and_an_empty_one_a_flag(
    workspace: Workspace, this_python: Environment, tmp_path: Path
) -> None:
    (tmp_path / "train.py").write_text("import sys\nprint(sys.argv[1:])\n")
    estimator = Estimator(
        str(tmp_path),
        entry_script="train.py",
        compute_target="local",
        script_params={"--rate": 0.1, "--verbose": ""},
        environment_definition=this_python,
    )
    experiment = Experiment(workspace, "estimated")
    first, second = experiment.submit(estimator), experiment.submit(estimator, script_params={"--rate": 0.2})
    for run in (first, second):
        run.wait_for_completion()
    assert log_of(first) == "['--rate', '0.1', '--verbose']\n"
    assert log_of(second) == "['--rate', '0.2', '--verbose']\n"


def test_outside_a_job_the_context_says_so_where_it_is_asked_to(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RunEnvironmentException, match="not part of a run"):
        Run.get_context(allow_offline=False)
    run = Run.get_context()
    run.log_list("list", [1, 2])
    run.log_row("row", x=1)
    run.tag("key", "value")
    run.upload_file("name", "path")
    said = capsys.readouterr().out
    assert "Attempted to log list metric list:\n[1, 2]" in said
    assert "Attempted to log row metric row:\n{'x': 1}" in said
    assert "Attempted to tag run: key=value" in said
    assert "Attempted to upload file path as name" in said


@pytest.mark.parametrize(
    "place", [".azureml/config.json", "aml_config/config.json", "config.json", "aml_config/project.json"]
)
def test_a_configuration_file_is_found_from_the_folders_below_it(
    runyard_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    said = {"subscription_id": "s", "resource_group": "g", "workspace_name": "found-from-below"}
    (tmp_path / place).write_text(json.dumps(said))
    below = tmp_path / "notebooks" / "deep"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    found = Workspace.from_config()
    assert (found.name, found.subscription_id, found.resource_group) == ("found-from-below", "s", "g")
