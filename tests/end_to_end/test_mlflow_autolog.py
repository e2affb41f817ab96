"""MLflow's autolog of TensorFlow, Keras and Lightning in jobs, beside environments that other tests build, too.

Only the frameworks themselves show that what MLflow puts into them logs to the run of the job.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runyard import Experiment, ScriptRunConfig, TensorFlow, Workspace
from runyard.run import Run
from tests.end_to_end.mlflow_jobs import QUIET, SCRIPTS
from tests.end_to_end.training_on_nodes import build, tensorflow_workers, torch_ranks

PINS = Path(__file__).parents[2] / "requirements" / "autolog.txt"

pytestmark = [pytest.mark.network, pytest.mark.slow]


def ready(workspace: Workspace, config: ScriptRunConfig | TensorFlow) -> str:
    """Builds a configuration's environment, where no other test has done so; gives the version of its Python."""
    key = build(workspace, config).wait_for_completion(show_output=False, raise_on_error=True)._known.key
    return str(workspace.transport.call("GET", f"/environment-cache/{key}")["python_version"])


@pytest.fixture
def beside(tmp_path: Path) -> Callable[[str], str]:
    """A folder with MLflow for a version of Python."""

    def beside(version: str) -> str:
        folder = str(tmp_path / "beside")
        command = ["pip", "install", "--quiet", "--python-version", version, "--target", folder, "--no-deps"]
        done = subprocess.run(
            [sys.executable, "-m", "uv", *command, "--require-hashes", "-r", str(PINS)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return folder

    return beside


def ended(run: Run) -> str:
    """What a run has printed; it has completed."""
    details = run.wait_for_completion(raise_on_error=False)
    log = run._read_log("azureml-logs/70_driver_log.txt")
    assert details["status"] == "Completed", log[-3000:]
    return log


def parameters(run: Run) -> dict[str, str]:
    return {key.removeprefix("mlflow.param."): value for key, value in run.get_properties().items()}


def falls(losses: object) -> bool:
    return isinstance(losses, list) and len(losses) == 3 and losses[-1] < losses[0]


@pytest.mark.tensorflow
def test_autolog_of_tensorflow_and_keras_lands_in_the_jobs_run(
    workspace: Workspace, beside: Callable[[str], str]
) -> None:
    folder = beside(ready(workspace, tensorflow_workers(1)))
    estimator = TensorFlow(
        source_directory=str(SCRIPTS),
        entry_script="autolog_tensorflow.py",
        script_params={folder: ""},
        framework_version="2.21",
        environment_variables=QUIET,
    )
    run = Experiment(workspace, "autolog").submit(estimator)
    assert f"TensorFlow logged to {run.id}" in ended(run)
    assert falls(run.get_metrics()["loss"])
    said = parameters(run)
    assert (said["epochs"], said["batch_size"]) == ("3", "16")
    (child,) = run.get_children()
    assert (child.display_name, child.get_status()) == ("keras", "Completed")
    assert falls(child.get_metrics()["loss"])
    assert parameters(child)["optimizer_learning_rate"] == "0.25"


@pytest.mark.torch
def test_autolog_of_lightning_lands_in_the_jobs_run(workspace: Workspace, beside: Callable[[str], str]) -> None:
    config = torch_ranks(1)
    folder = beside(ready(workspace, config))
    environment = config.run_config.environment
    environment.environment_variables = {**QUIET, "OMP_NUM_THREADS": "1"}
    run = Experiment(workspace, "autolog").submit(
        ScriptRunConfig(str(SCRIPTS), "autolog_lightning.py", arguments=[folder], environment=environment)
    )
    assert f"logged to {run.id}" in ended(run)
    assert falls(run.get_metrics()["loss"])
    said = parameters(run)
    assert (said["epochs"], said["optimizer_name"], said["lr"]) == ("3", "SGD", "0.25")
