"""The import names of Azure ML SDK v1: each gives ours, and one that is missing says so."""

import importlib
import os
import subprocess
import sys

import pytest


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
        "from azureml.data.data_reference import DataReference",
        "from azureml.exceptions import UserErrorException, ActivityFailedException, AzureMLException",
        "from azureml.exceptions import WebserviceException, ProjectSystemException, ComputeTargetException",
        "import azureml.core; azureml.core.Workspace; azureml.core.VERSION.split('.')",
    ],
)
def test_the_import_lines_of_public_notebooks_work(line):
    exec(line, {})


MODULES = [
    "azureml.core",
    "azureml.core.compute",
    "azureml.core.compute_target",
    "azureml.core.conda_dependencies",
    "azureml.core.datastore",
    "azureml.core.environment",
    "azureml.core.experiment",
    "azureml.core.model",
    "azureml.core.run",
    "azureml.core.runconfig",
    "azureml.core.script_run_config",
    "azureml.core.workspace",
    "azureml.data.data_reference",
    "azureml.exceptions",
    "azureml.train.dnn",
    "azureml.train.estimator",
    "azureml.train.sklearn",
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
        ("from azureml.core import Dataset", "azureml.core.Dataset is not there yet"),
        ("from azureml.core.compute import RemoteCompute", "azureml.core.compute.RemoteCompute is not there yet"),
        ("from azureml.core.model import InferenceConfig", "azureml.core.model has Model"),
        ("import azureml.core; azureml.core.Webservice", "azureml.core.Webservice is not there yet"),
        ("from azureml import widgets", "azureml.widgets is not there yet"),
        ("from azureml.train import hyperdrive", "azureml.train.hyperdrive is not there yet"),
        ("import azureml.pipeline", "azureml.pipeline"),
        ("from azureml.train.hyperdrive import HyperDriveConfig", "azureml.train.hyperdrive"),
    ],
)
def test_a_name_that_is_missing_is_named_in_the_import_error(line, named):
    with pytest.raises(ImportError) as missing:
        exec(line, {})
    assert named in str(missing.value)


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


def test_an_error_of_ours_is_caught_under_azures_name():
    from azureml.exceptions import AzureMLException, WebserviceException
    from runyard.errors import ModelNotFoundException, UnknownComputeError

    assert issubclass(ModelNotFoundException, WebserviceException)
    assert issubclass(UnknownComputeError, AzureMLException)
