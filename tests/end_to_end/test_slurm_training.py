"""Real training on the nodes of a real Slurm."""

from collections.abc import Iterator

import pytest

from runyard_server.testing.slurm_cluster import started_cluster
from runyard_server.testing.slurm_yard import SlurmYard
from tests.end_to_end.training_on_nodes import PATIENCE_S, WORKSPACE, Trained, TrainingOnNodes

pytestmark = [pytest.mark.slurm, pytest.mark.tensorflow, pytest.mark.torch, pytest.mark.network, pytest.mark.slow]


@pytest.fixture(scope="module")
def slurm(trained: Trained) -> Iterator[SlurmYard]:
    """The workspace that has trained on this machine, with a server beside a cluster's controller."""
    with started_cluster() as cluster, cluster.inside():
        yard = SlurmYard(cluster, WORKSPACE)
        yard.patience_s = PATIENCE_S
        yield yard
        yard.compute.delete()
        yard.close()


class TestTrainingOnSlurm(TrainingOnNodes):
    @pytest.fixture
    def yard(self, slurm: SlurmYard) -> SlurmYard:
        return slurm
