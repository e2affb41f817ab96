"""A workspace with a server in a Ray cluster's network, for tests of the whole on Ray."""

from runyard import ComputeTarget, RayCompute, Workspace
from runyard.run import Run
from runyard_server.testing.engine_yard import EngineYard
from runyard_server.testing.ray_cluster import RayCluster


class RayYard(EngineYard):
    """A workspace with the cluster attached as its compute target "cluster". Made and used inside its network.

    Args:
        scratch: of the nodes' own disks, where they do not see the server's folder.
        max_nodes: the most that one run may ask for, where an autoscaler brings them; else as many as are there.
        port: of the server.
    """

    def __init__(
        self, cluster: RayCluster, name: str, scratch: str = "", max_nodes: int | None = None, port: int = 8000
    ) -> None:
        self.cluster = cluster
        self._scratch = scratch
        self._max_nodes = max_nodes
        super().__init__(cluster.server_address, name, self._make_target, port)

    def job_of(self, run: Run) -> str:
        """Ray's id of a run's job, in its first attempt."""
        jobs = [job["submission_id"] or "" for job in self.cluster.ask("/api/jobs/")]
        (own,) = [job for job in jobs if job.startswith(f"{run.id}.1.")]
        return own

    def _make_target(self, workspace: Workspace) -> ComputeTarget:
        asked = RayCompute.attach_configuration(
            self.cluster.url, self.cluster.token, self._max_nodes, cpus_per_node=2, scratch=self._scratch
        )
        return ComputeTarget.attach(workspace, "cluster", asked)
