"""What is wrong is told at once: what it was, what is allowed, what to do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runyard import (
    AmlCompute,
    ComputeTarget,
    Environment,
    Estimator,
    Experiment,
    Model,
    Run,
    ScriptRunConfig,
    TensorFlow,
    Workspace,
)
from runyard.errors import (
    ActivityFailedException,
    ComputeTargetException,
    EnvironmentException,
    ExperimentException,
    FileNotInRunError,
    ModelNotFoundException,
    ModelPathNotFoundException,
    UserErrorException,
    WorkspaceException,
)


@pytest.fixture
def source(tmp_path: Path) -> str:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "train.py").write_text("print(1)\n")
    return str(folder)


def test_an_unknown_compute_target_names_those_that_are_there(workspace: Workspace, source: str) -> None:
    with pytest.raises(ComputeTargetException, match="no compute target 'gpu-clster'.*This workspace has: local"):
        Experiment(workspace, "bad").submit(ScriptRunConfig(source, "train.py", compute_target="gpu-clster"))
    with pytest.raises(ComputeTargetException, match="gpu-clster"):
        ComputeTarget(workspace=workspace, name="gpu-clster")


def test_a_missing_entry_script_names_the_scripts_that_are_there(workspace: Workspace, source: str) -> None:
    with pytest.raises(UserErrorException, match=r"trian\.py.*train\.py"):
        Experiment(workspace, "bad").submit(ScriptRunConfig(source, "trian.py"))


def test_more_nodes_than_the_target_has_are_refused_with_the_cure(workspace: Workspace, source: str) -> None:
    from runyard import PyTorchConfiguration

    config = AmlCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", max_nodes=2)
    target = ComputeTarget.create(workspace, "small", config)
    wanted = ScriptRunConfig(
        source, "train.py", compute_target=target, distributed_job_config=PyTorchConfiguration(node_count=3)
    )
    with pytest.raises(ComputeTargetException, match=r"3 nodes of 'small', which has at most 2.*update\(max_nodes=3\)"):
        Experiment(workspace, "bad").submit(wanted)


@pytest.mark.network
def test_a_package_that_does_not_exist_fails_the_run_in_preparing_and_names_it(
    workspace: Workspace, source: str
) -> None:
    config = Estimator(source_directory=source, entry_script="train.py", pip_packages=["no-such-package-anywhere-1"])
    run = Experiment(workspace, "bad").submit(config)
    with pytest.raises(ActivityFailedException, match="no-such-package-anywhere-1"):
        run.wait_for_completion()
    (cause,) = run.get_details()["error"]["error"]["details"]
    assert cause["code"] == "environment_failed"
    assert "no-such-package-anywhere-1" in run._read_log("azureml-logs/20_image_build_log.txt")
    assert [event["to_status"] for event in run._call("GET", "events")] == ["Starting", "Preparing", "Failed"]


def test_an_unknown_framework_version_lists_the_known_ones(workspace: Workspace, source: str) -> None:
    config = TensorFlow(source_directory=source, entry_script="train.py", framework_version="9.9")
    with pytest.raises(EnvironmentException, match=r"9\.9.*1\.13"):
        Experiment(workspace, "bad").submit(config)


def test_what_only_conda_has_is_refused_with_the_cure_where_conda_is_not_to_be_asked(
    workspace: Workspace, source: str
) -> None:
    environment = Environment("without-conda")
    environment.python.conda_dependencies.add_conda_package("cudatoolkit=10.0")
    environment.python.conda_solver = "never"
    config = Estimator(source_directory=source, entry_script="train.py", environment_definition=environment)
    with pytest.raises(EnvironmentException, match="cudatoolkit .*use_gpu=True"):
        Experiment(workspace, "bad").submit(config)


def test_a_metric_that_is_no_scalar_is_told_to_use_log_list(workspace: Workspace) -> None:
    with Experiment(workspace, "bad").start_logging(snapshot_directory=None) as run:
        with pytest.raises(UserErrorException, match="log_list"):
            run.log("losses", [1, 2, 3])
        run.log("loss", 1)
    assert run.get_metrics() == {"loss": 1}


@pytest.mark.parametrize("name", ["", "-begins", "has space", "ü", "a" * 256])
def test_an_experiments_name_against_the_rules_is_told_the_rules(workspace: Workspace, name: str) -> None:
    with pytest.raises(ExperimentException, match="letters|characters"):
        Experiment(workspace, name)


def test_a_workspaces_name_against_the_rules_is_told_the_rules() -> None:
    with pytest.raises(WorkspaceException, match="3 to 33"):
        Workspace.create("a")


def test_a_model_path_that_the_run_does_not_have_names_what_outputs_holds(
    workspace: Workspace, submit: Callable[..., Run]
) -> None:
    run = submit("open('outputs/weights.h5', 'w').write('1')\n")
    run.wait_for_completion()
    with pytest.raises(ModelPathNotFoundException, match=r"outputs/model.*outputs/weights\.h5"):
        run.register_model("net", model_path="outputs/model")
    with pytest.raises(ModelNotFoundException, match="net"):
        Model(workspace, "net")
    with pytest.raises(FileNotInRunError, match=r"outputs/weights\.h5"):
        run.download_file("outputs/weights")


def test_a_config_that_is_not_json_says_where_and_what_it_needs(tmp_path: Path) -> None:
    folder = tmp_path / ".azureml"
    folder.mkdir()
    (folder / "config.json").write_text("{not json")
    with pytest.raises(WorkspaceException, match=r"config\.json is not JSON.*subscription_id"):
        Workspace.from_config(str(tmp_path))
    (folder / "config.json").write_text("{}")
    with pytest.raises(WorkspaceException, match="names no workspace"):
        Workspace.from_config(str(tmp_path))


def test_a_user_managed_interpreter_that_is_not_here_is_told(workspace: Workspace, source: str) -> None:
    environment = Environment("gone")
    environment.python.user_managed_dependencies = True
    environment.python.interpreter_path = "/nowhere/python"
    with pytest.raises(EnvironmentException, match="/nowhere/python"):
        Experiment(workspace, "bad").submit(ScriptRunConfig(source, "train.py", environment=environment))


def test_an_unknown_run_is_told(workspace: Workspace) -> None:
    with pytest.raises(UserErrorException, match="no run 'nothing_1'"):
        Run.get(workspace, "nothing_1")
