"""Nodes that Slurm starts when a run needs them: what is seen while they are on their way."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runyard import ComputeTarget, Environment, SlurmCompute
from runyard.runconfig import PyTorchConfiguration
from runyard_server.testing.slurm_cluster import started_cluster
from runyard_server.testing.slurm_yard import SlurmYard

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


@pytest.fixture
def cloud_yard(runyard_home: Path) -> Iterator[SlurmYard]:
    with started_cluster(nodes=1, cloud_nodes=2) as cluster, cluster.inside():
        yard = SlurmYard(cluster, "in-a-cloud")
        yield yard
        yard.close()


def test_a_run_waits_for_nodes_that_are_being_started_and_says_how_many_are_here(
    cloud_yard: SlurmYard, this_python: Environment, tmp_path: Path
) -> None:
    yard = cloud_yard
    asked = SlurmCompute.provisioning_configuration(partition="cloud", cpus_per_node=2, python=sys.executable)
    target = ComputeTarget.create(yard.workspace, "cloud", asked)

    def counts() -> dict[str, int]:
        said = target.get_status().serialize()["nodeStateCounts"]
        return {name.replace("NodeCount", ""): count for name, count in said.items() if count}

    assert counts() == {}  # nodes that are powered down are not there
    gang = PyTorchConfiguration(node_count=2)
    run = yard.submit(tmp_path / "source", "print(1)", this_python, compute_target="cloud", distributed_job_config=gang)
    # How many are here is asked beside: it comes a moment after the words.
    words = "is scaling: its nodes are being started (2 asked, 0 here)"
    yard.until(lambda: yard.why(run).endswith(words), "nodes on their way")
    assert run.get_status() == "Queued"
    yard.until(lambda: counts() == {"preparing": 2}, "nodes that are counted as preparing")
    shown = yard.shown("cloud")
    assert "2 preparing" in shown and run.id in shown and "2 asked, 0 here" in shown
    run.cancel()
    assert yard.end(run)["status"] == "Canceled", yard.end(run)
