"""The import names of Azure ML SDK v1: each gives ours, and one that is missing says so."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import azureml.core
from runyard.absent import AZURE, PLANNED, TABLE, Absent, absence, message
from runyard.dataset import Dataset
from runyard.environment import Environment
from runyard.errors import NotOfferedError
from runyard.file_dataset import FileDataset
from runyard.model import Model
from runyard.output_dataset import OutputFileDatasetConfig
from runyard.workspace import Workspace


def test_the_articles_imports_work():
    namespace = {}
    exec(
        "import azureml\n"
        "from azureml.core import Experiment\n"
        "from azureml.core import Workspace, Run\n"
        "from azureml.core.compute import ComputeTarget, AmlCompute\n"
        "from azureml.core.compute_target import ComputeTargetException\n"
        "from azureml.train.dnn import TensorFlow\n",
        namespace,
    )
    assert namespace["Workspace"].__module__ == "runyard.workspace"
    assert namespace["ComputeTargetException"].__module__ == "runyard.errors"


def test_the_articles_import_of_urllib_alone_is_enough():
    # Its snippets say "import urllib" and call urllib.request, which Azure's packages happen to load.
    code = "import urllib, azureml\nfrom azureml.core import Run\nurllib.request.urlretrieve"
    paths = os.pathsep.join(path for path in sys.path if path)
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ, PYTHONPATH=paths))


@pytest.mark.parametrize(
    "line",
    [
        "from azureml.core import ScriptRunConfig, Environment, Model, Datastore, VERSION",
        "from azureml.core.run import Run",
        "from azureml.core.workspace import Workspace",
        "from azureml.core.experiment import Experiment",
        "from azureml.core.model import Model",
        "from azureml.core.datastore import Datastore",
        "from azureml.core.environment import Environment, CondaDependencies",
        "from azureml.core.conda_dependencies import CondaDependencies",
        "from azureml.core.script_run_config import ScriptRunConfig",
        "from azureml.core.runconfig import RunConfiguration, DataReferenceConfiguration, DEFAULT_CPU_IMAGE",
        "from azureml.core.runconfig import MpiConfiguration, TensorflowConfiguration, PyTorchConfiguration",
        "from azureml.core import runconfig, compute",
        "from azureml.train.estimator import Estimator, Mpi, ParameterServer",
        "from azureml.train.dnn import PyTorch, Chainer, Mpi, Gloo, Nccl, ParameterServer",
        "from azureml.train.sklearn import SKLearn",
        "from azureml.core.authentication import InteractiveLoginAuthentication, ServicePrincipalAuthentication",
        "from azureml.core.compute.amlcompute import AmlCompute, AmlComputeStatus",
        "from azureml.core.container_registry import ContainerRegistry",
        "from azureml.core import Dataset",
        "from azureml.core.dataset import Dataset",
        "from azureml.core.script_run import ScriptRun",
        "from azureml.data.data_reference import DataReference",
        "from azureml.data.azure_storage_datastore import AzureBlobDatastore, AzureFileDatastore",
        "from azureml.data.datapath import DataPath",
        "from azureml.data.dataset_consumption_config import DatasetConsumptionConfig",
        "from azureml.data import OutputFileDatasetConfig, FileDataset",
        "from azureml.telemetry import set_diagnostics_collection",
        "from azureml.tensorboard import Tensorboard",
        "from azureml.contrib.tensorboard import Tensorboard",
        "from azureml.tensorboard.export import export_to_tensorboard",
        "from azureml.contrib.tensorboard.export import export_to_tensorboard",
        "from azureml.widgets import RunDetails",
        "import azureml.contrib",
        "from azureml.contrib.notebook import NotebookRunConfig, AzureMLNotebookHandler",
        "from azureml.exceptions import UserErrorException, ActivityFailedException, AzureMLException",
        "from azureml.exceptions import WebserviceException, ProjectSystemException, ComputeTargetException",
        "import azureml.core; azureml.core.Workspace; azureml.core.VERSION.split('.')",
    ],
)
def test_the_import_lines_of_public_notebooks_work(line):
    exec(line, {})


MODULES = [
    "azureml.contrib.notebook",
    "azureml.core",
    "azureml.core.authentication",
    "azureml.core.compute",
    "azureml.core.compute.amlcompute",
    "azureml.core.compute.compute",
    "azureml.core.compute_target",
    "azureml.core.conda_dependencies",
    "azureml.core.container_registry",
    "azureml.core.dataset",
    "azureml.core.datastore",
    "azureml.core.environment",
    "azureml.core.experiment",
    "azureml.core.model",
    "azureml.core.run",
    "azureml.core.runconfig",
    "azureml.core.script_run",
    "azureml.core.script_run_config",
    "azureml.core.workspace",
    "azureml.data",
    "azureml.data.abstract_dataset",
    "azureml.data.abstract_datastore",
    "azureml.data.azure_storage_datastore",
    "azureml.data.data_reference",
    "azureml.data.datapath",
    "azureml.data.dataset_consumption_config",
    "azureml.data.dataset_factory",
    "azureml.data.file_dataset",
    "azureml.data.output_dataset_config",
    "azureml.exceptions",
    "azureml.telemetry",
    "azureml.tensorboard",
    "azureml.tensorboard.export",
    "azureml.train.dnn",
    "azureml.train.estimator",
    "azureml.train.sklearn",
    "azureml.widgets",
]


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_of_a_module_is_there(name):
    module = importlib.import_module(name)
    assert module.__all__
    for public in module.__all__:
        assert getattr(module, public) is not None


@pytest.mark.parametrize(
    "line, named",
    [
        ("from azureml.core.compute import RemoteCompute", "azureml.core.compute.RemoteCompute is not there yet"),
        ("from azureml.core.model import InferenceConfig", "azureml.core.model.InferenceConfig is not there yet"),
        ("import azureml.core; azureml.core.Webservice", "azureml.core.Webservice is not there yet"),
        ("from azureml.core.webservice import AciWebservice", "deploying models as web services: planned"),
        ("from azureml.train import hyperdrive", "azureml.train.hyperdrive is not there yet"),
        ("from azureml.train.hyperdrive import HyperDriveConfig", "tuning hyperparameters: planned"),
        ("import azureml.pipeline.core", "azureml.pipeline is not there (pipelines of Azure ML: an Azure service"),
        ("from azureml.pipeline.steps import PythonScriptStep", "Submit the steps as runs"),
        ("import azureml.dataprep as dprep", "Read and change tables with pandas"),
        ("from azureml.opendatasets import MNIST", "an Azure service that runyard does not replace"),
        ("from azureml.contrib.notebook import NotebookRunnerStep", "pipelines of Azure ML: an Azure service"),
        ("from azureml.contrib.explain.model import explainer", "azureml.contrib.explain is not there"),
        ("from azureml.core import Sweep", "azureml.core.Sweep is not a name that runyard answers"),
        ("from azureml.core.model import Modell", "azureml.core.model has Model"),
        ("import azureml.nothing.at.all", "azureml.nothing is not a name that runyard answers"),
    ],
)
def test_a_name_that_is_missing_is_named_in_the_import_error(line, named):
    with pytest.raises(ImportError) as missing:
        exec(line, {})
    assert named in str(missing.value)


def test_a_missing_module_can_be_caught_as_such():
    # Packages that use Azure ML where it is there ask in this way.
    with pytest.raises(ModuleNotFoundError) as missing:
        importlib.import_module("azureml.opendatasets")
    assert missing.value.name == "azureml.opendatasets"
    assert importlib.import_module("azureml.core.run").Run is not None


ABSENT_MEMBERS = [
    (cls, "{}.{}".format(owner, name))
    for owner, cls in {
        "azureml.core.Workspace": Workspace,
        "azureml.core.Environment": Environment,
        "azureml.core.Model": Model,
        "azureml.core.Dataset": Dataset,
        "azureml.data.FileDataset": FileDataset,
        "azureml.data.OutputFileDatasetConfig": OutputFileDatasetConfig,
    }.items()
    for name, member in vars(cls).items()
    if isinstance(member, Absent)
]


@pytest.mark.parametrize(("cls", "symbol"), ABSENT_MEMBERS)
def test_a_member_that_is_missing_says_whether_it_is_planned(cls, symbol):
    name = symbol.rsplit(".", 1)[1]
    with pytest.raises(NotOfferedError) as missing:
        getattr(cls, name)
    assert str(missing.value) == message(symbol)
    assert absence(symbol) is not None
    assert not hasattr(cls, name)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_a_name_of_the_table_is_missing_indeed(name):
    # One that has come since is taken out of the table: the table tells no lies.
    owner, _, member = name.rpartition(".")
    if name == "azureml.core.Dataset":
        return  # stands for the class's members
    with pytest.raises((ImportError, AttributeError)):
        thing = importlib.import_module("azureml")
        for part in name.split(".")[1:]:
            thing = getattr(thing, part)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_a_missing_name_says_what_to_use(name):
    said = message(name)
    assert said.startswith(name + " is not there")
    assert ("planned for a later version" in said) != ("an Azure service that runyard does not replace" in said)
    assert said.endswith((".", ").")) and TABLE[name].instead in said


def test_private_names_are_missing_like_any_attribute():
    module = importlib.import_module("azureml.core")
    assert not hasattr(module, "_nothing")


@pytest.mark.parametrize(
    "module, cls, version",
    [
        ("azureml.train.dnn", "TensorFlow", "1.13"),
        ("azureml.train.dnn", "PyTorch", "1.4"),
        ("azureml.train.dnn", "Chainer", "7.0.0"),
        ("azureml.train.sklearn", "SKLearn", "0.20.3"),
    ],
)
def test_an_estimator_without_a_version_has_azures_default(tmp_path, module, cls, version):
    from runyard.run_spec import build

    (tmp_path / "train.py").write_text("")
    estimator = getattr(importlib.import_module(module), cls)
    spec = build(estimator(str(tmp_path), entry_script="train.py"), "exp")
    assert spec.environment.framework_version == version
    spec = build(estimator(str(tmp_path), entry_script="train.py", framework_version="9.9"), "exp")
    assert spec.environment.framework_version == "9.9"


@pytest.mark.parametrize("name", sorted(TABLE))
def test_the_readme_names_what_is_missing_and_what_to_use(name):
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    heading = {PLANNED: "## What is not there yet", AZURE: "## What belongs to Azure's cloud"}[TABLE[name].kind]
    rows = [line for line in readme.partition(heading)[2].partition("\n## ")[0].splitlines() if line.startswith("|")]
    (row,) = [row for row in rows if "`{}`".format(name[len("azureml.") :]) in row]
    assert TABLE[name].what in row and TABLE[name].instead in row


def test_azures_experiment_is_ours_with_another_default():
    from azureml.core.experiment import Experiment
    from runyard import experiment

    assert azureml.core.Experiment is Experiment
    assert issubclass(Experiment, experiment.Experiment)


def test_an_error_of_ours_is_caught_under_azures_name():
    from azureml.exceptions import AzureMLException, WebserviceException
    from runyard.errors import ModelNotFoundException, UnknownComputeError

    assert issubclass(ModelNotFoundException, WebserviceException)
    assert issubclass(UnknownComputeError, AzureMLException)
