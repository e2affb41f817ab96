"""A notebook as the script of a run, and as the client of one: with real kernels, in environments that are built for them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runyard import Environment, Experiment, ScriptRunConfig, Workspace, embedded
from runyard.estimators import Estimator
from runyard.job.processes import is_alive
from runyard.run import Run

ROOT = Path(__file__).parents[2]
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
        tmp_path, "print('one')", "import os, signal\nprint('kernel', os.getpid(), 'waits', flush=True)\nsignal.pause()"
    )
    config = ScriptRunConfig(source, "train.ipynb", environment=of_python("3.11"))
    run = Experiment(workspace, "notebooks").submit(config)
    until(run, " waits")
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


# A notebook of Azure's, whose runs have the Python of its kernel. The display is given the time to see the end.
CLIENT = [
    "import sys\nprint(sys.version_info[:2], get_ipython().kernel.implementation)",
    "from azureml.core import Environment, Experiment, ScriptRunConfig, Workspace\n"
    "ws = Workspace.from_config()\n"
    "env = Environment('of-the-kernel')\n"
    "env.python.user_managed_dependencies = True\n"
    "env.python.interpreter_path = sys.executable\n"
    "run = Experiment(ws, 'from-a-kernel').submit(ScriptRunConfig('project', 'train.py', environment=env))",
    "from azureml.widgets import RunDetails\nRunDetails(run).show()",
    "details = run.wait_for_completion(show_output=True)",
    "import threading\n"
    "for thread in threading.enumerate():\n"
    "    if thread.name == 'runyard-run-details':\n"
    "        thread.join(300)\n"
    "print(details['status'], run.get_metrics())",
    "run",
]
SCRIPT = """
import sys
from azureml.core import Run

print("trained on %d.%d" % sys.version_info[:2])
Run.get_context().log_list("loss", [0.5, 0.25])
"""


@pytest.fixture
def python_of_kernels(workspace: Workspace, tmp_path: Path) -> str:
    """A Python 3.7 with ipykernel and papermill: that of the environment in which notebooks of 3.7 run here."""
    config = ScriptRunConfig(
        notebook(tmp_path, "import sys\nprint(sys.executable)"), "train.ipynb", environment=of_python("3.7")
    )
    run = Experiment(workspace, "notebooks").submit(config)
    run.wait_for_completion()
    return run._read_log("azureml-logs/70_driver_log.txt").strip()


def executed(python: str, folder: Path, *cells: str) -> list[list[dict[str, Any]]]:
    """The outputs of each cell of a notebook that a person runs in a kernel of that Python, with azureml's names."""
    kernel = {
        "display_name": "Azure ML, August 2019",
        "language": "python",
        "argv": [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "env": {"PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("sdk", "azureml"))},
    }
    (folder / "kernels" / "azureml-2019").mkdir(parents=True)
    (folder / "kernels" / "azureml-2019" / "kernel.json").write_text(json.dumps(kernel))
    given = Path(notebook(folder, *cells), "train.ipynb")
    command = [python, "-m", "papermill", "--kernel", "azureml-2019", "--start-timeout", "600"]
    command += [str(given), str(folder / "executed.ipynb")]
    environment = {**os.environ, "JUPYTER_PATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-5000:]
    return [cell["outputs"] for cell in json.loads((folder / "executed.ipynb").read_text())["cells"]]


def shown(outputs: list[dict[str, Any]]) -> str:
    return "".join("".join(output["data"].get("text/html", "")) for output in outputs if "data" in output)


def said(outputs: list[dict[str, Any]]) -> str:
    return "".join("".join(output.get("text", "")) for output in outputs)


@pytest.mark.network
@pytest.mark.python37
def test_a_notebook_in_a_kernel_of_python_3_7_submits_shows_and_follows_a_run_of_a_server_on_another(
    python37: str, python_of_kernels: str, workspace: Workspace, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    (own / "project").mkdir(parents=True)
    (own / "project" / "train.py").write_text(SCRIPT)
    workspace.write_config(str(own))

    version, _, details, followed, ended, card = executed(python_of_kernels, own, *CLIENT)

    assert said(version) == "(3, 7) ipython\n"
    server = embedded.describe(workspace.folder or "")
    assert server and os.path.samefile(f"/proc/{server['pid']}/exe", sys.executable)
    assert "trained on 3.7" in said(followed)
    assert said(ended) == "Completed {'loss': [0.5, 0.25]}\n"
    assert ">Completed</span>" in shown(details) and "<b>loss</b>" in shown(details)  # as it became, cells later
    assert "from-a-kernel" in shown(card)
