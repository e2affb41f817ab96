"""MLflow's own client, as it is on PyPI, against a real server of ours; and autolog in a job, which lands in its run."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runyard import Environment, Workspace
from runyard.run import Run
from tests.end_to_end.mlflow_jobs import QUIET, SCRIPTS

# The client sends its 2 MB in seven parts.
IN_PARTS = {
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "true",
    "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": "1000000",
    "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE": "300000",
}

pytestmark = [pytest.mark.network, pytest.mark.slow]


def test_mlflows_client_tracks_searches_and_registers_here(
    mlflow_python: str, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "")
    uri = workspace.get_mlflow_tracking_uri()
    environment = {**os.environ, **QUIET, **IN_PARTS, "MLFLOW_TRACKING_URI": uri}
    assert environment["MLFLOW_TRACKING_TOKEN"]

    done = subprocess.run(
        [mlflow_python, str(SCRIPTS / "tracking.py")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-5000:]
    said = json.loads(done.stdout[done.stdout.rindex("{") :])
    run = workspace.get_run(said["run_id"])
    assert run.get_status() == "Completed"
    metrics = run.get_metrics()
    assert metrics["loss"] == [1.0, 0.5, 1 / 3, 0.25, 0.2]
    assert {"model/weights é.bin", "weights é.bin"} <= set(run.get_file_names())
    assert run.verify()["files"]["damaged"] == []
    assert run.get_properties()["mlflow.param.lr"] == "0.1"


def test_autolog_in_a_job_lands_in_the_jobs_run(
    mlflow_python: str, workspace: Workspace, submit: Callable[..., Run]
) -> None:
    environment = Environment("mlflow")
    environment.python.user_managed_dependencies = True
    environment.python.interpreter_path = mlflow_python
    environment.environment_variables = dict(QUIET)
    run = submit((SCRIPTS / "autolog.py").read_text(), environment=environment)
    details = run.wait_for_completion()

    assert details["status"] == "Completed"
    assert f"logged to {run.id}" in run._read_log("azureml-logs/70_driver_log.txt")
    assert 0.9 < run.get_metrics()["training_accuracy_score"] <= 1.0
    assert run.get_properties()["mlflow.param.C"] == "0.5"
    assert run.get_tags()["by"] == "autolog"
    (second,) = [child for child in run.get_children() if child.display_name == "another"]
    assert second.get_metrics() == {"more": 1.0}
    assert second.get_file_names() == ["notes.txt"]
    assert second.get_status() == "Completed"
