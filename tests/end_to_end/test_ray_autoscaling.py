"""Nodes that Ray's own autoscaler brings for a run, and takes away again when they have been idle."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runyard import Environment
from runyard.runconfig import PyTorchConfiguration
from runyard_server.testing import ray_cluster as rays
from runyard_server.testing.ray_yard import RayYard
from tests.end_to_end.waiting import WAITS_FOR_GO

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def scaling_yard(runyard_home: Path) -> Iterator[RayYard]:
    """A workspace with a cluster of a head alone, whose autoscaler may bring two nodes."""
    with rays.started_cluster(nodes=0, scales_to=2) as cluster, cluster.inside():
        yard = RayYard(cluster, "on-scaling-ray", max_nodes=2)
        yield yard
        yard.close()


def counts(yard: RayYard) -> dict[str, Any]:
    status = yard.compute.get_status()
    assert status is not None
    found: dict[str, Any] = status.serialize()["nodeStateCounts"]
    return {name: count for name, count in found.items() if count}


def test_nodes_come_for_a_run_and_go_when_they_are_idle(
    scaling_yard: RayYard, this_python: Environment, tmp_path: Path
) -> None:
    yard = scaling_yard
    assert counts(yard) == {}
    waits = "is scaling: it waits for 2 nodes with 2 CPUs: 0 of 2 such nodes are here"
    with yard.cluster.held_autoscaler():  # else both may be here before anybody looks
        gang = yard.submit(
            tmp_path / "gang", WAITS_FOR_GO, this_python, distributed_job_config=PyTorchConfiguration(node_count=2)
        )
        yard.until(lambda: waits in yard.why(gang), "a run that says which nodes it waits for")
        yard.until(lambda: counts(yard) == {"preparingNodeCount": 2}, "two nodes on their way")
    yard.until(lambda: bool(gang.get_status() == "Running"), "the run on nodes that were not there")
    yard.until(lambda: counts(yard) == {"runningNodeCount": 2}, "two nodes in use")
    yard.until(lambda: "up" in yard.log(gang, "azureml-logs/70_driver_log_1.txt"), "the second rank")
    (attempt,) = Path(yard.folder, "runs", gang.id).iterdir()
    (attempt / "go").touch()
    assert yard.end(gang)["status"] == "Completed", yard.end(gang)
    yard.until(lambda: counts(yard) == {}, "the end of the idle nodes")

    alone = yard.submit(tmp_path / "alone", "print('here')", this_python)
    assert yard.end(alone)["status"] == "Completed", yard.end(alone)
    yard.until(lambda: counts(yard) == {}, "the end of the idle node")
