"""Real training on the nodes of a real Ray."""

from collections.abc import Iterator

import pytest

from runyard_server.testing.ray_cluster import RayCluster
from runyard_server.testing.ray_yard import RayYard
from tests.end_to_end.training_on_nodes import PATIENCE_S, WORKSPACE, Trained, TrainingOnNodes

pytestmark = [pytest.mark.ray, pytest.mark.tensorflow, pytest.mark.torch, pytest.mark.network, pytest.mark.slow]


@pytest.fixture(scope="module")
def ray(trained: Trained, ray_cluster: RayCluster) -> Iterator[RayYard]:
    """The workspace that has trained on this machine, with a server in a cluster's network, which has a third node now."""
    with ray_cluster.inside(), ray_cluster.one_more_node():
        yard = RayYard(ray_cluster, WORKSPACE)
        yard.patience_s = PATIENCE_S
        yield yard
        yard.compute.delete()
        yard.close()


class TestTrainingOnRay(TrainingOnNodes):
    @pytest.fixture
    def yard(self, ray: RayYard) -> RayYard:
        return ray
