"""Horovod as Azure ML had it there: nobody asks for it, and the ranks train as one. Its wheels are really compiled.

A wheel that was compiled once is kept in the user's cache folder, so only the first run of these tests takes minutes.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runyard import AmlCompute, ComputeTarget, Experiment, Run, TensorFlow, Workspace
from runyard.runconfig import MpiConfiguration

SCRIPTS = Path(__file__).parent / "horovod"


@pytest.fixture(scope="module")
def nodes(workspace: Workspace) -> str:
    """A compute target of two nodes."""
    config = AmlCompute.provisioning_configuration("STANDARD_D2_V2", max_nodes=2)
    return str(ComputeTarget.create(workspace, "two-nodes", config).name)


@pytest.fixture
def train(workspace: Workspace, nodes: str) -> Callable[..., Run]:
    """Trains by a script of ``horovod/`` on a TensorFlow that is named, and nothing else."""

    def train(script: str, version: str, node_count: int, per_node: int) -> Run:
        estimator = TensorFlow(
            source_directory=str(SCRIPTS),
            entry_script=script,
            compute_target=nodes,
            node_count=node_count,
            distributed_training=MpiConfiguration(per_node),
            framework_version=version,
        )
        return Experiment(workspace, "horovod").submit(estimator)

    return train


def said_by(run: Run) -> list[dict[str, object]]:
    """The last line of each rank."""
    logs = [name for name in run.get_file_names() if name.startswith("azureml-logs/70_driver_log_")]
    return [json.loads(run._read_log(name).splitlines()[-1]) for name in sorted(logs)]


def warnings_of(run: Run) -> list[str]:
    return [each["message"] for each in run.get_details().get("warnings", [])]


@pytest.mark.network
@pytest.mark.tensorflow
@pytest.mark.python37
@pytest.mark.slow
@pytest.mark.parametrize(("version", "node_count", "per_node"), [("1.13", 1, 2), ("1.12", 2, 1)])
def test_two_ranks_on_tensorflow_1_find_what_neither_finds_alone(
    train: Callable[..., Run], version: str, node_count: int, per_node: int
) -> None:
    run = train("regression_tf1.py", version, node_count, per_node)
    assert run.wait_for_completion()["status"] == "Completed"
    told = said_by(run)
    assert [(each["rank"], each["size"], each["tensorflow"]) for each in told] == [(0, 2, "1.13.1"), (1, 2, "1.13.1")]
    for each in told:  # alone: 10 and 20
        assert each["sums"] == pytest.approx([15.0, 15.0], abs=0.01)
    assert run.get_metrics()["weight"] == pytest.approx(1.5, abs=0.001)
    assert [warning[:36] for warning in warnings_of(run)] == (
        ["TensorFlow 1.12 was never built for "] if version == "1.12" else []
    )


@pytest.mark.network
@pytest.mark.tensorflow
@pytest.mark.slow
@pytest.mark.parametrize(("node_count", "per_node"), [(1, 2), (2, 1)])
def test_two_ranks_that_fit_a_keras_2_model_find_what_neither_finds_alone(
    train: Callable[..., Run], node_count: int, per_node: int
) -> None:
    run = train("regression_keras.py", "2.15", node_count, per_node)
    assert run.wait_for_completion()["status"] == "Completed"
    told = said_by(run)
    assert [(each["rank"], each["size"], each["tensorflow"]) for each in told] == [(0, 2, "2.15.1"), (1, 2, "2.15.1")]
    for each in told:  # alone: 10 and 20
        assert each["sums"] == pytest.approx([15.0, 15.0], abs=0.01)
    assert warnings_of(run) == []
