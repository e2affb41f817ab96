"""A notebook as the script of a run: with a real kernel, in environments that are built for it."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runyard import Environment, Experiment, ScriptRunConfig, Workspace
from runyard.estimators import Estimator
from runyard.job.processes import is_alive
from runyard.run import Run

Until = Callable[[Run, str], None]
CELLS = [
    "epochs = 1",
    "import os, sys\nprint('in', sys.version_info[:2], os.getcwd().endswith('code'), flush=True)",
    "from runyard import Run\nrun = Run.get_context()\nfor epoch in range(epochs):\n    run.log('loss', 1 / (epoch + 1))",
    "print('before the gate', flush=True)\nopen(gate).read()\nopen('outputs/model.txt', 'w').write(name)",
]


def notebook(folder: Path, *cells: str) -> str:
    """A folder with the notebook ``train.ipynb``; its first cell holds the parameters. It names no kernel."""
    source = folder / "source"
    source.mkdir()
    written: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "metadata": {"tags": ["parameters"]} if number == 0 else {},
            "execution_count": None,
            "outputs": [],
            "source": text,
        }
        for number, text in enumerate(cells)
    ]
    content = {"cells": written, "metadata": {}, "nbformat": 4, "nbformat_minor": 2}
    (source / "train.ipynb").write_text(json.dumps(content))
    return str(source)


def of_python(version: str) -> Environment:
    environment = Environment("for-a-notebook")
    environment.python.conda_dependencies.set_python_version(version)
    return environment


@pytest.mark.network
@pytest.mark.parametrize("version", ["3.7", "3.11"])
def test_a_notebook_runs_with_its_parameters_and_is_kept_with_its_outputs(
    workspace: Workspace, tmp_path: Path, until: Until, version: str
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    another = tmp_path / "kernels" / "python3"  # as a user may have installed it
    another.mkdir(parents=True)
    (another / "kernel.json").write_text('{"argv": ["false"], "display_name": "Python 3", "language": "python"}')
    environment = of_python(version)
    environment.environment_variables["JUPYTER_DATA_DIR"] = str(tmp_path)
    estimator = Estimator(
        notebook(tmp_path, *CELLS),
        entry_script="train.ipynb",
        script_params={"--epochs": 3, "--name": "mnist", "--gate": str(gate)},
        environment_definition=environment,
    )
    run = Experiment(workspace, "notebooks").submit(estimator)
    until(run, "before the gate")  # what a cell prints is seen while it runs
    gate.write_text("")
    assert run.wait_for_completion()["status"] == "Completed"
    major, minor = version.split(".")
    assert run._read_log("azureml-logs/70_driver_log.txt").startswith(f"in ({major}, {minor}) True\n")
    assert run.get_metrics() == {"loss": [1.0, 1 / 2, 1 / 3]}
    assert run._read_file("outputs/model.txt") == b"mnist"
    kept = json.loads(run._read_file("outputs/train.output.ipynb"))
    printed = ["".join(output.get("text", "")) for cell in kept["cells"] for output in cell.get("outputs", [])]
    assert any("before the gate" in text for text in printed)
    assert run.verify()["ok"]


@pytest.mark.network
def test_a_failed_cell_is_the_runs_cause_and_what_came_before_it_is_kept(workspace: Workspace, tmp_path: Path) -> None:
    source = notebook(
        tmp_path, "print('first')", "def train():\n    raise ValueError('no luck')\ntrain()", "print('never')"
    )
    config = ScriptRunConfig(source, "train.ipynb", environment=of_python("3.11"))
    run = Experiment(workspace, "notebooks").submit(config)
    run.wait_for_completion(raise_on_error=False)
    assert run.get_status() == "Failed"
    (cause,) = run.get_details()["error"]["error"]["details"]
    assert cause["message"] == "The script ended with exit code 1: ValueError: no luck"
    assert "in train()" in cause["traceback"] and "papermill" not in cause["traceback"]
    kept = run._read_file("outputs/train.output.ipynb").decode()
    assert "first" in kept and "no luck" in kept


@pytest.mark.network
def test_a_cancelled_notebook_is_kept_as_far_as_it_came_and_its_kernel_is_gone(
    workspace: Workspace, tmp_path: Path, until: Until
) -> None:
    source = notebook(
        tmp_path, "print('one')", "import os, signal\nprint('kernel', os.getpid(), flush=True)\nsignal.pause()"
    )
    config = ScriptRunConfig(source, "train.ipynb", environment=of_python("3.11"))
    run = Experiment(workspace, "notebooks").submit(config)
    until(run, "kernel ")
    run.cancel()
    run.wait_for_completion()
    assert run.get_status() == "Canceled"
    assert "one" in run._read_file("outputs/train.output.ipynb").decode()
    pid = int(run._read_log("azureml-logs/70_driver_log.txt").split("kernel ")[1].split()[0])
    assert not is_alive(pid)


def test_an_environment_of_the_users_own_without_papermill_says_what_to_add(
    workspace: Workspace, this_python: Environment, tmp_path: Path
) -> None:
    config = ScriptRunConfig(notebook(tmp_path, "print(1)"), "train.ipynb", environment=this_python)
    run = Experiment(workspace, "notebooks").submit(config)
    run.wait_for_completion(raise_on_error=False)
    said = run.get_details()["error"]["error"]["message"]
    assert "Add the pip packages papermill and ipykernel to it" in said
