"""``runyard import mlflow``: from a server of ours, which speaks MLflow's API, and from what MLflow itself has written."""

import json
import math
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runyard import Workspace, embedded
from runyard.cli.main import main
from runyard.mlflow_api import MlflowApi

SEED = Path(__file__).parent / "mlflow_scripts" / "seed.py"
LOSSES: list[tuple[int, Any]] = [(0, 1.0), (1, "NaN"), (2, "Infinity"), (3, "-Infinity"), (4, 1 / 3), (4, 0.25)]


@pytest.fixture(scope="module")
def elsewhere(runyard_home: Path) -> Iterator[Workspace]:
    """The workspace that is imported from."""
    opened = Workspace.create("elsewhere", exist_ok=True, show_output=False)
    yield opened
    assert opened.folder is not None
    embedded.stop(opened.folder)


@pytest.fixture
def source(elsewhere: Workspace, monkeypatch: pytest.MonkeyPatch) -> MlflowApi:
    """MLflow's API of that workspace; the import is told its token by MLflow's variable."""
    address, token = elsewhere.transport.place()
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", token)
    return MlflowApi(address, "Bearer " + token)


def api_of(workspace: Workspace) -> MlflowApi:
    address, token = workspace.transport.place()
    return MlflowApi(address, "Bearer " + token)


def imported(workspace: Workspace, uri: str, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, int]:
    """What an import that goes well says it did."""
    code = main(["import", "mlflow", uri, "--json", *more], workspace)
    said = json.loads(capsys.readouterr().out)
    assert (code, said["failures"]) == (0, [])
    counts: dict[str, int] = said["counts"]
    return counts


def seeded(source: MlflowApi, workspace: Workspace, tmp_path: Path, name: str) -> tuple[str, str, str]:
    """An experiment with a run, one below it with files, and a model of these; the ids."""
    experiment = source.post("experiments/create", {"name": name, "tags": [{"key": "season", "value": "autumn"}]})[
        "experiment_id"
    ]
    asked = {"experiment_id": experiment, "run_name": "parent", "start_time": 1_700_000_000_000}
    parent = source.post("runs/create", asked)["run"]["info"]["run_id"]
    metrics = [
        {"key": "loss", "step": step, "value": value, "timestamp": 1_700_000_000_000 + number}
        for number, (step, value) in enumerate(LOSSES)
    ]
    params, tags = [{"key": "lr", "value": "0.1"}], [{"key": "a key", "value": "a välue\n"}]
    source.post("runs/log-batch", {"run_id": parent, "metrics": metrics, "params": params, "tags": tags})
    below = {"experiment_id": experiment, "start_time": 1, "tags": [{"key": "mlflow.parentRunId", "value": parent}]}
    child = source.post("runs/create", below)["run"]["info"]["run_id"]
    (tmp_path / "weights").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "empty").write_bytes(b"")
    run = workspace.get_run(child)
    run.upload_files(["model/weights é.bin", "empty.txt"], [str(tmp_path / "weights"), str(tmp_path / "empty")])
    source.post("runs/update", {"run_id": child, "status": "FAILED", "end_time": 1_700_000_009_000})
    source.post("runs/update", {"run_id": parent, "status": "FINISHED", "end_time": 1_700_000_010_500})
    model = name.partition(" ")[0]
    source.post("registered-models/create", {"name": model, "description": "of fruit"})
    for number in ("1", "2", "3"):
        source.post(
            "model-versions/create",
            {"name": model, "source": f"runs:/{child}/model", "run_id": child, "description": f"v{number}"},
        )
    source.post("registered-models/alias", {"name": model, "alias": "best", "version": "3"})
    return experiment, parent, child


def test_what_is_elsewhere_comes_whole_and_exact_and_once(
    source: MlflowApi,
    elsewhere: Workspace,
    workspace: Workspace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    experiment, parent, child = seeded(source, elsewhere, tmp_path, "apples / all")
    deleted = source.post("runs/create", {"experiment_id": experiment})["run"]["info"]["run_id"]
    source.post("runs/delete", {"run_id": deleted})

    counts = imported(workspace, source.address, capsys, "--experiment", "apples / all")

    assert counts["new runs"] == 2
    assert counts["numbers"] == len(LOSSES)
    assert (counts["files"], counts["bytes"]) == (2, 256 * 40)
    assert counts["runs deleted there"] == 1
    here = api_of(workspace)
    assert here.get("experiments/get", experiment_id=experiment)["experiment"]["name"] == "apples / all"
    for run_id in (parent, child):
        there_said, here_said = (api.get("runs/get", run_id=run_id)["run"] for api in (source, here))
        assert here_said["info"] == there_said["info"]
        assert here_said["data"] == there_said["data"]
    history = here.get("metrics/get-history", run_id=parent, metric_key="loss")
    assert history == source.get("metrics/get-history", run_id=parent, metric_key="loss")
    assert [(point["step"], point["value"]) for point in history["metrics"]] == LOSSES
    run = workspace.get_run(child)
    assert run.parent is not None and run.parent.id == parent
    assert run._read_file("model/weights é.bin") == bytes(range(256)) * 40
    assert run.get_status() == "Failed"

    again = imported(workspace, source.address, capsys, "--experiment", "apples / all")
    assert "new runs" not in again and "numbers" not in again and "files" not in again
    assert again["runs as before"] == 2

    more = {"key": "loss", "step": 5, "value": 0.2, "timestamp": 1_700_000_020_000}
    source.post("runs/log-batch", {"run_id": parent, "metrics": [more]})
    later = imported(workspace, source.address, capsys, "--experiment", "apples / all")
    assert (later["numbers"], later["changed runs"], later["runs as before"]) == (1, 1, 1)
    assert here.get("metrics/get-history", run_id=parent, metric_key="loss")["metrics"][-1]["value"] == 0.2


def test_models_keep_their_versions_and_aliases_and_go_on_counting(
    source: MlflowApi,
    elsewhere: Workspace,
    workspace: Workspace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seeded(source, elsewhere, tmp_path, "pears all")
    source._json("DELETE", "/api/2.0/mlflow/model-versions/delete", {}, {"name": "pears", "version": "2"})

    imported(workspace, source.address, capsys)

    assert sorted(model.version for model in workspace.models.values() if model.name == "pears") == [3]
    here = api_of(workspace)
    versions = here.get("model-versions/search", filter="name='pears'")["model_versions"]
    assert sorted(version["version"] for version in versions) == ["1", "3"]
    assert here.get("registered-models/alias", name="pears", alias="best")["model_version"]["description"] == "v3"
    child = versions[0]["run_id"]
    made = here.post("model-versions/create", {"name": "pears", "source": f"runs:/{child}/model", "run_id": child})
    assert made["model_version"]["version"] == "4"
    assert "new model versions" not in imported(workspace, source.address, capsys)


def test_an_import_that_was_killed_is_gone_on_with(
    source: MlflowApi,
    elsewhere: Workspace,
    workspace: Workspace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    experiment, parent, child = seeded(source, elsewhere, tmp_path, "plums all")
    many = [
        {"key": "many", "step": step, "value": step / 7, "timestamp": 1_700_000_000_000 + step} for step in range(900)
    ]
    source.post("runs/log-batch", {"run_id": parent, "metrics": many})
    # As it is after a kill: the runs were made, some of the numbers and none of the files had come.
    here = api_of(workspace)
    here.post("imports/experiments", {"experiment_id": experiment, "name": "plums all"})
    about = {"experiment_id": experiment, "mark": "none", "start_time": 1_700_000_000_000}
    here.post("imports/runs", dict(about, run_id=parent, status="FINISHED", end_time=1_700_000_010_500))
    here.post("runs/log-batch", {"run_id": parent, "metrics": many[:500]})

    counts = imported(workspace, source.address, capsys, "--experiment", "plums all")

    assert (counts["changed runs"], counts["new runs"]) == (1, 1)
    assert counts["numbers"] == 400 + len(LOSSES)
    history = here.get("metrics/get-history", run_id=parent, metric_key="many")["metrics"]
    assert [(point["step"], point["value"]) for point in history] == [(step, step / 7) for step in range(900)]
    assert workspace.get_run(child).get_file_names() == ["empty.txt", "model/weights é.bin"]


def test_what_cannot_be_meant_is_refused_with_what_can(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mlruns").mkdir()
    for uri, said in (
        (str(tmp_path), "Is it"),
        (str(tmp_path / "nothing"), "There is no folder"),
        ("sqlite:///nothing.db", "There is no database"),
        ("postgresql://somewhere/mlflow", "start MLflow's own server over it"),
    ):
        assert main(["import", "mlflow", uri], workspace) == 2
        assert said in capsys.readouterr().err


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("store", ["sqlite:///mlflow.db", "mlruns"])
def test_what_mlflow_itself_has_written_is_read_by_mlflow(
    workspace: Workspace,
    mlflow_python: str,
    store: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    model = "of-a-" + ("database" if ":" in store else "folder")  # both come into one workspace
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_ALLOW_FILE_STORE": "true"}
    environment = {**os.environ, **quiet, "MLFLOW_TRACKING_URI": store if ":" in store else "./" + store}
    done = subprocess.run(
        [mlflow_python, str(SEED), model], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    ids = json.loads(done.stdout.strip().splitlines()[-1])

    counts = imported(workspace, store, capsys, "--python", mlflow_python)

    assert (counts["new runs"], counts["new logged models"], counts["new model versions"]) == (3, 1, 2)
    assert (counts["runs deleted there"], counts["experiments deleted there"]) == (1, 1)
    parent, child = workspace.get_run(ids["parent"]), workspace.get_run(ids["child"])
    assert parent.experiment.name.startswith("Fruit-apples")
    assert parent.get_properties()["mlflow.param.lr"] == "0.1"
    assert parent.get_tags()["a key"] == "a välue\n"
    losses = parent.get_metrics()["loss"]
    assert math.isnan(losses[1]) and losses[2:] == [math.inf, -math.inf, 1 / 3, 0.25]
    assert len(parent.get_metrics()["many"]) == 2500
    assert child.parent is not None and child.parent.id == parent.id
    assert child._read_file("model/weights é.bin") == bytes(range(256)) * 40
    assert workspace.get_run(ids["running"]).get_status() == "Running"
    version = api_of(workspace).get("registered-models/alias", name=model, alias="best")["model_version"]
    assert (version["version"], version["description"], version["run_id"]) == ("3", "v2", child.id)
