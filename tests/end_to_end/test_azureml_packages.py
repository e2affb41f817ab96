"""A package list that names Microsoft's azureml-* gets ours: what the script imports then, on a new and on an old Python."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runyard import Environment, Experiment, Run, ScriptRunConfig, Workspace
from runyard_server.testing.wheels import make_wheel

BUILD_LOG = "azureml-logs/20_image_build_log.txt"

SCRIPT = """
import sys
import alpha
import azureml.core
from azureml.core import Dataset, Datastore, Environment, Experiment, Model, Run, ScriptRunConfig, Workspace
from azureml.core.compute import AmlCompute, ComputeTarget
from azureml.core.runconfig import CondaDependencies, MpiConfiguration, RunConfiguration
from azureml.data.tabular_dataset import TabularDataset
from azureml.exceptions import AzureMLException
from azureml.telemetry import set_diagnostics_collection
from azureml.train.dnn import Chainer, Gloo, Mpi, Nccl, ParameterServer, PyTorch, TensorFlow
from azureml.train.estimator import Estimator
from azureml.train.sklearn import SKLearn
from azureml.widgets import RunDetails
run = Run.get_context(allow_offline=False)
run.log("python", sys.version_info[1])
run.tag("version", azureml.core.VERSION)
try:
    import azureml.train.automl
except ImportError as fault:
    print(str(fault).split("(")[0])
print(alpha.version, sorted(name for name in sys.modules if name.startswith("azure.")))
"""


@pytest.fixture
def azureml_sdk(tmp_path: Path) -> Callable[[str], Environment]:
    """An environment with the names that Azure's users write, and one package that is really installed."""
    make_wheel(tmp_path, "alpha", "1.0")

    def azureml_sdk(python_version: str) -> Environment:
        environment = Environment("of-azure")
        packages = environment.python.conda_dependencies
        packages.set_python_version(python_version)
        names = ["azureml-sdk==1.0.57", "azureml-defaults", "azureml-train-core", "azureml_widgets", "alpha"]
        packages.set_pip_requirements(["--no-index", f"--find-links {tmp_path}", *names])
        return environment

    return azureml_sdk


def submitted(workspace: Workspace, folder: Path, environment: Environment) -> Run:
    source = folder / "source"
    source.mkdir()
    (source / "train.py").write_text(SCRIPT)
    run = Experiment(workspace, "azures-packages").submit(
        ScriptRunConfig(str(source), "train.py", environment=environment)
    )
    run.wait_for_completion()
    return run


@pytest.mark.parametrize("version", [f"3.{sys.version_info[1]}", pytest.param("3.7", marks=pytest.mark.python37)])
def test_a_script_in_an_environment_of_azures_packages_imports_ours(
    workspace: Workspace,
    tmp_path: Path,
    azureml_sdk: Callable[[str], Environment],
    version: str,
    request: pytest.FixtureRequest,
) -> None:
    from runyard.protocol.version import VERSION

    if version == "3.7":
        request.getfixturevalue("python37")  # skips where there is none
    run = submitted(workspace, tmp_path, azureml_sdk(version))

    assert run._read_log("azureml-logs/70_driver_log.txt") == "azureml.train.automl is not there \n1.0 []\n"
    assert run.get_metrics() == {"python": int(version.split(".")[1])}
    assert run.tags["version"] == VERSION
    built = run._read_log(BUILD_LOG)
    for name in ("azureml-sdk", "azureml-defaults", "azureml-train-core", "azureml-widgets"):
        assert f"{name}: answered by runyard" in built
