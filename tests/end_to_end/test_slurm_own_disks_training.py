"""Real training on nodes of a real Slurm that see neither the server's folder nor each other's disk."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runyard_server.testing.slurm_cluster import started_cluster
from runyard_server.testing.slurm_yard import SlurmYard
from tests.end_to_end.training_on_nodes import PATIENCE_S, WORKSPACE, Trained, completed, horovod_ranks, log_of

pytestmark = [pytest.mark.slurm, pytest.mark.tensorflow, pytest.mark.network, pytest.mark.slow]


@pytest.fixture
def yard(trained: Trained, runyard_home: Path, tmp_path: Path) -> Iterator[SlurmYard]:
    """The workspace that has built the environment on this machine; its home is hidden from the nodes."""
    disks = f"{tmp_path}/$SLURMD_NODENAME"  # each node's own
    with started_cluster(nodes=2, hidden=runyard_home) as cluster, cluster.inside():
        # A package index is not reached from inside; what the server has fetched is a mirror of it.
        cache = subprocess.run([sys.executable, "-m", "uv", "cache", "dir"], capture_output=True, text=True, check=True)
        mirror = f"export UV_OFFLINE=1 UV_CACHE_DIR='{cache.stdout.strip()}'"
        yard = SlurmYard(cluster, WORKSPACE, scratch=disks, setup=[mirror])
        yard.patience_s = PATIENCE_S
        yield yard
        yard.compute.delete()
        yard.close()


def test_horovods_ranks_on_two_nodes_that_share_nothing_find_what_neither_finds_alone(
    yard: SlurmYard, tmp_path: Path
) -> None:
    run = completed(yard, horovod_ranks(2))
    told = [json.loads(run._read_log(log_of(rank)).splitlines()[-1]) for rank in "01"]
    assert [(each["rank"], each["size"], each["tensorflow"]) for each in told] == [(0, 2, "2.15.1"), (1, 2, "2.15.1")]
    for each in told:  # alone: 10 and 20
        assert each["sums"] == pytest.approx([15.0, 15.0], abs=0.01)
    assert run.get_metrics()["weight"] == pytest.approx(1.5, abs=0.001)
    for node in (0, 1):  # on each node, out of the lock and of the wheel that the server had compiled
        prepared = run._read_log(f"azureml-logs/65_job_prep-{node}.txt")
        assert "building environment" in prepared and "was compiled by the server, and fetched from there" in prepared
        (wheel,) = (tmp_path / f"n{node + 1}").rglob("environments/wheels/*/*.whl")
        assert wheel.name.startswith("horovod-")
