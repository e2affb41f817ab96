"""A workspace with a server in a Ray cluster's network, for tests of the whole on Ray."""

from runyard import ComputeTarget, RayCompute, Workspace
from runyard_server.testing.engine_yard import EngineYard
from runyard_server.testing.ray_cluster import RayCluster


class RayYard(EngineYard):
    """A workspace with the cluster attached as its compute target "cluster". Made and used inside its network.

    Args:
        scratch: of the nodes' own disks, where they do not see the server's folder.
    """

    def __init__(self, cluster: RayCluster, name: str, scratch: str = "") -> None:
        self.cluster = cluster
        self._scratch = scratch
        super().__init__(cluster.server_address, name, self._make_target)

    def _make_target(self, workspace: Workspace) -> ComputeTarget:
        asked = RayCompute.attach_configuration(
            self.cluster.url, self.cluster.token, cpus_per_node=2, scratch=self._scratch
        )
        return ComputeTarget.attach(workspace, "cluster", asked)
