"""The ``slurm_cluster`` fixture: one real Slurm for all tests of this folder."""

from collections.abc import Iterator

import pytest

from runyard_server.testing.slurm_cluster import SlurmCluster, started_cluster


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[SlurmCluster]:
    """A controller and three nodes of two processors each."""
    with started_cluster() as cluster:
        yield cluster
