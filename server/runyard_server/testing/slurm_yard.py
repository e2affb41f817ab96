"""A workspace whose server stands beside a cluster's controller, for tests of the whole on Slurm."""

import sys
from collections.abc import Sequence

from runyard import ComputeTarget, SlurmCompute, Workspace
from runyard_server.testing.engine_yard import EngineYard
from runyard_server.testing.slurm_cluster import SlurmCluster


class SlurmYard(EngineYard):
    """A workspace with the cluster's nodes as its compute target "cluster". Made and used inside the cluster's network.

    Args:
        scratch: of the nodes' own disks, where they do not see the server's folder.
        public_url: where the nodes are told that the server is.
        setup: lines of shell that each run's script begins with.
    """

    def __init__(
        self,
        cluster: SlurmCluster,
        name: str,
        port: int = 8000,
        scratch: str = "",
        public_url: str = "",
        setup: Sequence[str] = (),
    ) -> None:
        self.cluster = cluster
        self._setup = list(setup)
        self._scratch = scratch
        super().__init__(cluster.address, name, self._make_target, port, public_url)

    def _make_target(self, workspace: Workspace) -> ComputeTarget:
        # Whole nodes of the cluster's: a run that has one keeps others away.
        asked = SlurmCompute.provisioning_configuration(
            partition="main", cpus_per_node=2, python=sys.executable, scratch=self._scratch, setup=self._setup
        )
        return ComputeTarget.create(workspace, "cluster", asked)
