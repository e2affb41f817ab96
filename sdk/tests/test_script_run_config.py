"""ScriptRunConfig: what is given wins over the run configuration, and bad values are refused at once."""

import pytest

from runyard.environment import Environment
from runyard.errors import UserErrorException
from runyard.resuming import RunOutputs
from runyard.runconfig import (
    MpiConfiguration,
    PyTorchConfiguration,
    RunConfiguration,
    TensorflowConfiguration,
)
from runyard.script_run_config import ScriptRunConfig


class Cluster:
    name = "gpucluster"


def test_without_anything_it_runs_on_this_machine_for_at_most_thirty_days():
    config = ScriptRunConfig("src", "train.py")
    assert config.run_config.target == "local"
    assert config.run_config.max_run_duration_seconds == 2592000


def test_a_given_run_config_is_copied_so_that_two_runs_do_not_share_it():
    shared = RunConfiguration()
    shared.environment_variables["A"] = "1"
    config = ScriptRunConfig("src", "train.py", run_config=shared)
    config.run_config.environment_variables["B"] = "2"
    config.run_config.mpi.process_count_per_node = 4
    assert shared.environment_variables == {"A": "1"}
    assert shared.mpi.process_count_per_node == 1


def test_what_is_given_besides_a_run_config_wins():
    base = RunConfiguration()
    base.target = "other"
    base.max_run_duration_seconds = 60
    environment = Environment("mine")
    config = ScriptRunConfig("src", "train.py", run_config=base, compute_target=Cluster(), environment=environment)
    assert config.run_config.target == "gpucluster"
    assert config.run_config.environment is environment
    assert config.run_config.max_run_duration_seconds == 60
    config = ScriptRunConfig("src", "train.py", run_config=base, max_run_duration_seconds=30)
    assert config.run_config.max_run_duration_seconds == 30


def test_a_compute_target_is_given_as_object_or_name():
    settings = RunConfiguration()
    settings.target = Cluster()
    assert settings.target == "gpucluster"
    settings.target = "cpu"
    assert settings.target == "cpu"
    with pytest.raises(UserErrorException, match="ComputeTarget or its name"):
        settings.target = 3


@pytest.mark.parametrize(
    "distributed, framework, communicator, nodes",
    [
        (MpiConfiguration(2, 3), "Python", "IntelMpi", 3),
        (PyTorchConfiguration("Gloo", 4, 2), "PyTorch", "Gloo", 2),
        (TensorflowConfiguration(3, 1), "TensorFlow", "ParameterServer", 3),
    ],
)
def test_a_distributed_job_sets_framework_communicator_and_nodes(distributed, framework, communicator, nodes):
    settings = ScriptRunConfig("src", "t.py", compute_target="c", distributed_job_config=distributed).run_config
    assert (settings.framework, settings.communicator, settings.node_count) == (framework, communicator, nodes)


def test_something_else_as_a_distributed_job_is_refused():
    with pytest.raises(UserErrorException, match="MpiConfiguration, TensorflowConfiguration or"):
        ScriptRunConfig("src", "t.py", distributed_job_config="mpi")


def test_script_and_command_exclude_each_other():
    with pytest.raises(UserErrorException, match="or command, not both"):
        ScriptRunConfig("src", "train.py", command="python train.py")
    with pytest.raises(UserErrorException, match="or command, not both"):
        RunConfiguration(script="train.py", command="python train.py")


def test_what_cannot_be_resumed_from_is_refused_with_what_can():
    with pytest.raises(UserErrorException, match="resume_from takes the run whose outputs"):
        ScriptRunConfig("src", "train.py", resume_from=object())
    with pytest.raises(UserErrorException, match="a command has none"):
        ScriptRunConfig("src", command="python train.py", resume_from=RunOutputs("exp_1"))


def test_a_run_config_of_another_kind_is_refused():
    with pytest.raises(UserErrorException, match="run_config is a RunConfiguration"):
        ScriptRunConfig("src", "train.py", run_config={})


def test_an_environment_of_another_kind_is_refused():
    with pytest.raises(UserErrorException, match=r"Environment\.get"):
        ScriptRunConfig("src", "train.py", environment="AzureML-Minimal")


def test_packages_given_to_a_run_configuration_are_its_environments():
    from runyard.conda_dependencies import CondaDependencies

    settings = RunConfiguration(conda_dependencies=CondaDependencies.create(pip_packages=["numpy==1.26"]))
    assert settings.environment.to_spec().pip_packages == ["numpy==1.26"]


def test_overrides_at_submission_are_refused_with_the_cure():
    with pytest.raises(UserErrorException, match="script_params can be overridden.*for estimators alone"):
        ScriptRunConfig("src", "train.py").with_overrides(script_params={})
