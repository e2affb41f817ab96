"""Workspaces on a real engine of our own: a cluster in a network namespace, and a server beside its controller."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.measurement import Bench
from benchmarks.own_workspace import NAME, own_home

if TYPE_CHECKING:
    from runyard import Workspace
    from runyard_server.testing.ray_cluster import RayCluster
    from runyard_server.testing.ray_yard import RayYard
    from runyard_server.testing.slurm_cluster import SlurmCluster
    from runyard_server.testing.slurm_yard import SlurmYard


class NoCluster(Exception):
    """There can be no such engine here; the message says why."""


@contextmanager
def own_slurm(nodes: int = 2, more: str = "") -> Iterator["SlurmCluster"]:
    """A Slurm whose network the caller stands in. Raises NoCluster.

    Args:
        more: further lines of its slurm.conf.
    """
    from runyard_server.testing import slurm_cluster

    _refuse(slurm_cluster.missing())
    with slurm_cluster.started_cluster(nodes=nodes, more=more) as cluster, cluster.inside():
        yield cluster


@contextmanager
def own_ray(nodes: int = 2) -> Iterator["RayCluster"]:
    """A Ray whose network the caller stands in. Raises NoCluster."""
    from runyard_server.testing import ray_cluster

    _refuse(ray_cluster.missing())
    with ray_cluster.started_cluster(nodes=nodes) as cluster, cluster.inside():
        yield cluster


@contextmanager
def workspace_on_slurm(
    bench: Bench, nodes: int = 2, prepare: "Callable[[Workspace], None] | None" = None, more: str = ""
) -> Iterator["SlurmYard"]:
    """A new workspace whose target "cluster" is a Slurm's nodes. Raises NoCluster.

    Args:
        prepare: called with the workspace while its server still stands where packages can be fetched.
        more: further lines of slurm.conf.
    """
    from runyard import Workspace, embedded
    from runyard_server.testing import slurm_cluster
    from runyard_server.testing.slurm_yard import SlurmYard

    _refuse(slurm_cluster.missing())  # before anything is built
    with own_home(bench) as folder:
        if prepare is not None:
            workspace = Workspace.create(NAME, show_output=False)
            prepare(workspace)
            workspace.transport.close()
            embedded.stop(str(folder))
        with own_slurm(nodes, more) as cluster:
            yard = SlurmYard(cluster, NAME)
            try:
                yield yard
            finally:
                yard.close()


@contextmanager
def workspace_on_ray(bench: Bench, nodes: int = 2) -> Iterator["RayYard"]:
    """A new workspace whose target "cluster" is a Ray's nodes. Raises NoCluster."""
    from runyard_server.testing.ray_yard import RayYard

    with own_home(bench), own_ray(nodes) as cluster:
        yard = RayYard(cluster, NAME)
        try:
            yield yard
        finally:
            yard.close()


def _refuse(why: str) -> None:
    if why:
        raise NoCluster(why)
