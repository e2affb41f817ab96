"""One real Slurm and one real Ray for all tests of this folder."""

from collections.abc import Iterator

import pytest

from runyard_server.testing.ray_cluster import RayCluster
from runyard_server.testing.ray_cluster import started_cluster as started_ray
from runyard_server.testing.slurm_cluster import SlurmCluster, started_cluster


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[SlurmCluster]:
    """A controller and three nodes of two processors each."""
    with started_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[RayCluster]:
    """A head and two nodes of two processors each, with a token."""
    with started_ray() as cluster:
        yield cluster
