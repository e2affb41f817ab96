"""Real training on the nodes of a real cluster, the same on every engine: each subclasses ``TrainingOnNodes``.

Only the frameworks themselves, on nodes that an engine has given, show that what their ranks are told there is enough
for them to train as one. Each asserts what one rank alone, or an untrained one, cannot reach.
"""

import json
import os
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from runyard import Environment, Experiment, ScriptRunConfig, TensorFlow, Workspace, embedded, run_spec
from runyard.environment_build import ImageBuildDetails
from runyard.protocol.codec import to_json
from runyard.run import Run
from runyard.runconfig import MpiConfiguration, PyTorchConfiguration, TensorflowConfiguration
from runyard_server.testing.engine_yard import EngineYard

EXAMPLES = Path(__file__).parents[2] / "examples"
HOROVOD = Path(__file__).parent / "horovod"
WORKSPACE = "training"
PATIENCE_S = 900.0  # three ranks that load a framework at once, on a machine that runs other tests
EPOCHS = 1  # an untrained network names a tenth of the digits right
Config = ScriptRunConfig | TensorFlow


@dataclass(frozen=True)
class Trained:
    """What the article's run came to on this machine, and its scripts."""

    accuracy: float
    scripts: Path


def article(workspace: Workspace, scripts: Path, target: str) -> TensorFlow:
    """The article's configuration, for fewer epochs."""
    parameters = {
        "--data-folder": workspace.get_default_datastore().as_mount(),
        "--batch-size": 50,
        "--first-layer-neurons": 300,
        "--second-layer-neurons": 100,
        "--learning-rate": 0.01,
        "--epochs": EPOCHS,
    }
    return TensorFlow(
        source_directory=str(scripts),
        entry_script="tf_mnist.py",
        script_params=parameters,
        compute_target=target,
    )


def tensorflow_workers(count: int) -> TensorFlow:
    return TensorFlow(
        source_directory=str(EXAMPLES / "multi_worker"),
        entry_script="train.py",
        script_params={"--steps": 300},
        framework_version="2.21",
        compute_target="cluster",
        node_count=count,
        distributed_training=TensorflowConfiguration(worker_count=count, parameter_server_count=0),
    )


def horovod_ranks(node_count: int) -> TensorFlow:
    return TensorFlow(
        source_directory=str(HOROVOD),
        entry_script="regression_keras.py",
        framework_version="2.15",
        compute_target="cluster",
        node_count=node_count,
        distributed_training=MpiConfiguration(process_count_per_node=1),
    )


def torch_ranks(node_count: int) -> ScriptRunConfig:
    environment = Environment("torch")
    environment.python.conda_dependencies.set_python_version("3.11")
    environment.python.conda_dependencies.add_pip_package("torch==2.13.0")
    environment.python.conda_dependencies.add_pip_package("numpy")
    return ScriptRunConfig(
        str(EXAMPLES / "torch_ddp"),
        "train.py",
        arguments=["--epochs", 10],
        environment=environment,
        compute_target="cluster",
        distributed_job_config=PyTorchConfiguration("Gloo", process_count=node_count, node_count=node_count),
    )


def trained_here(folder: Path) -> Trained:
    """The article's run on this machine, and every environment that the nodes will find ready.

    All of it in one workspace, whose server stands in a cluster's network afterwards: from there no package can be
    fetched.
    """
    given = os.environ.get("MNIST_DIR")
    if not given:
        pytest.skip("MNIST_DIR names no folder with MNIST's four files")
    for name in ("tf_mnist.py", "idx.py"):
        shutil.copy(EXAMPLES / "mnist" / name, folder)
    workspace = Workspace.create(WORKSPACE, exist_ok=True, show_output=False)
    workspace.get_default_datastore().upload(src_dir=given, target_path="mnist", overwrite=True)
    run = Experiment(workspace, "here").submit(article(workspace, folder, "local"))
    building = [build(workspace, config) for config in (tensorflow_workers(2), horovod_ranks(2), torch_ranks(2))]
    for each in building:
        each.wait_for_completion(show_output=False, raise_on_error=True)
    run.wait_for_completion()
    here = Trained(float(run.get_metrics()["final_acc"]), folder)
    assert workspace.folder is not None
    embedded.stop(workspace.folder)
    workspace.transport.close()
    return here


def build(workspace: Workspace, config: Config) -> ImageBuildDetails:
    """Begins to build what a run of ``config`` will need."""
    spec = run_spec.build(config, "on-nodes")
    asked = replace(spec.environment, mpi=spec.distribution.kind == "mpi")
    return ImageBuildDetails(workspace, workspace.transport.call("POST", "/environment-builds", json=to_json(asked)))


class TrainingOnNodes:
    """What every engine's nodes can do. A subclass gives ``yard``: its target "cluster" has three nodes of two CPUs."""

    @pytest.fixture
    def yard(self) -> EngineYard:
        raise NotImplementedError

    def test_the_articles_run_is_as_accurate_as_on_this_machine(self, yard: EngineYard, trained: Trained) -> None:
        run = completed(yard, article(yard.workspace, trained.scripts, "cluster"))
        accuracy = float(run.get_metrics()["final_acc"])
        assert accuracy > 0.9
        assert accuracy == pytest.approx(trained.accuracy, abs=0.003)
        model = run.register_model("digits", "outputs/model")
        assert {file.name for file in Path(model.download(str(trained.scripts / run.id))).iterdir()} >= {
            "saved_model.pb"
        }
        assert run.verify()["ok"]

    def test_tensorflow_2s_workers_on_two_nodes_end_with_the_same_variables(self, yard: EngineYard) -> None:
        run = completed(yard, tensorflow_workers(2))
        assert len(nodes_of(run)) == 2
        weights = weights_by_rank(run, "worker", ["worker_0", "worker_1"])
        assert weights[0] == weights[1]
        assert run.get_metrics()["accuracy"] > 0.95
        assert "outputs/model/saved_model.pb" in run.get_file_names()

    def test_pytorchs_ranks_on_three_nodes_end_with_the_same_weights(self, yard: EngineYard) -> None:
        run = completed(yard, torch_ranks(3))
        assert len(nodes_of(run)) == 3
        weights = weights_by_rank(run, "rank", ["0", "1", "2"])
        assert weights[0] == weights[1] == weights[2]
        for rank in "012":
            assert f"rank {rank} of 3: gloo on cpu, 667 of 2000 points" in run._read_log(log_of(rank))
        assert run.get_metrics()["accuracy"] > 0.95
        assert "outputs/model.pt" in run.get_file_names()

    def test_horovods_ranks_on_three_nodes_find_what_none_of_them_finds_alone(self, yard: EngineYard) -> None:
        run = completed(yard, horovod_ranks(3))
        assert len(nodes_of(run)) == 3
        told = [json.loads(run._read_log(log_of(rank)).splitlines()[-1]) for rank in "012"]
        assert [(each["rank"], each["size"], each["tensorflow"]) for each in told] == [
            (rank, 3, "2.15.1") for rank in range(3)
        ]
        for each in told:  # alone: 10, 20 and 30. Rank 1 would find what all find together, ranks 0 and 2 never.
            assert each["sums"] == pytest.approx([20.0] * 3, abs=0.01)
        assert run.get_metrics()["weight"] == pytest.approx(2.0, abs=0.001)


def completed(yard: EngineYard, config: Config) -> Run:
    """The run of ``config``, ended well."""
    run: Run = Experiment(yard.workspace, "on-nodes").submit(config)
    ended = yard.end(run)
    assert ended["status"] == "Completed", ended
    return run


def log_of(label: str) -> str:
    return f"azureml-logs/70_driver_log_{label}.txt"


def nodes_of(run: Run) -> set[int]:
    """The nodes that the run's ranks stood on."""
    return {rank["node"] for rank in run._call("GET", "ranks")}


def weights_by_rank(run: Run, kind: str, labels: list[str]) -> list[str]:
    """The sum of the weights that each rank ended with."""
    pattern = rf"{kind} \d of {len(labels)}: .*sum of weights (\S+)$"
    found = [re.search(pattern, run._read_log(log_of(label)), re.M) for label in labels]
    assert all(found), [run._read_log(log_of(label)) for label in labels]
    return [each[1] for each in found if each]
