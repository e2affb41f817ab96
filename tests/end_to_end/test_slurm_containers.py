"""Runs in containers on the nodes of a real Slurm: the image comes from the registry, and no container outlives its job."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runyard import ComputeTarget, Environment, Run, SlurmCompute
from runyard.errors import EnvironmentException
from runyard.runconfig import PyTorchConfiguration
from runyard_server.testing.container_host import BASE, ContainerHost, started_host
from runyard_server.testing.slurm_cluster import started_cluster
from runyard_server.testing.slurm_yard import SlurmYard
from runyard_server.testing.wheels import make_wheel
from tests.end_to_end.in_an_image import in_an_image
from tests.end_to_end.meeting import MEETING
from tests.end_to_end.waiting import WAITS

pytestmark = [pytest.mark.slurm, pytest.mark.containers]

NODES = "nodes"  # the storage of images that the nodes have: another one than the server's


class Yard:
    """A cluster whose nodes have podman and reach a registry."""

    def __init__(self, slurm: SlurmYard, containers: ContainerHost, folder: Path) -> None:
        self.slurm = slurm
        self.containers = containers
        self._folder = folder
        self._count = 0

    def submit(self, text: str, environment: Environment, **config: object) -> Run:
        self._count += 1
        source = self._folder / f"source-{self._count}"
        return self.slurm.submit(source, text, environment, compute_target="with-podman", **config)

    def until_no_container_is_left(self) -> None:
        self.containers.until(lambda: self.containers.containers(NODES) == [], "the end of all containers")


@pytest.fixture(scope="module")
def yard(runyard_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with started_cluster() as cluster, cluster.inside(), started_host(cluster.address) as host, host.used():
        host.add_storage(NODES)
        slurm = SlurmYard(cluster, "containers-on-slurm")
        asked = SlurmCompute.provisioning_configuration(
            partition="main",
            cpus_per_node=2,
            setup=[f"export CONTAINERS_STORAGE_CONF={host.storage_conf(NODES)}"],
        )
        ComputeTarget.create(slurm.workspace, "with-podman", asked)
        yield Yard(slurm, host, tmp_path_factory.mktemp("sources"))
        slurm.close()
        cluster.clear()


MEETS = f"""{MEETING}
import alpha
node = os.environ["SLURMD_NODENAME"]
print(node, "heard", heard("hello from " + node), "with", alpha.version)
os.makedirs("outputs", exist_ok=True)
open("outputs/rank-%d.txt" % rank, "w").write(str(rank))
"""


def test_the_ranks_of_two_nodes_meet_in_containers_of_an_image_that_the_server_has_made(
    yard: Yard, tmp_path: Path
) -> None:
    make_wheel(tmp_path, "alpha", "1.0")
    environment = in_an_image(tmp_path, "alpha")
    run = yard.submit(MEETS, environment, distributed_job_config=PyTorchConfiguration(node_count=2))
    ended = yard.slurm.end(run)
    assert ended["status"] == "Completed", ended.get("error")
    assert "n2 heard hello from n1 with 1.0" in run._read_log("azureml-logs/70_driver_log_1.txt")
    assert {"outputs/rank-0.txt", "outputs/rank-1.txt"} <= set(run.get_file_names())
    image = f"{yard.containers.registry}/runyard/environment@sha256:"
    prepared = [run._read_log(f"azureml-logs/65_job_prep-{node}.txt") for node in range(2)]
    assert any(f"fetching the image {image}" in said for said in prepared)  # both nodes have one storage of images
    yard.until_no_container_is_left()


def test_a_container_ends_with_its_job_however_that_is_killed(yard: Yard, until: Callable[[Run, str], None]) -> None:
    cancelled, killed = (yard.submit(WAITS, Environment.from_docker_image("as-it-is", BASE)) for _ in range(2))
    for run in (cancelled, killed):
        until(run, "up")
    assert len(yard.containers.containers(NODES)) == 2
    cancelled.cancel()
    assert yard.slurm.end(cancelled)["status"] == "Canceled"
    yard.slurm.cluster.call("scancel", "--full", "--signal=KILL", "--user=root")  # the job, and all that watches it
    assert yard.slurm.error(killed)["code"] in ("signaled", "node_lost")
    yard.until_no_container_is_left()


def test_without_a_registry_an_image_for_other_machines_is_refused_at_submission(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNYARD_CONTAINER_REGISTRY")
    other = SlurmYard(yard.slurm.cluster, "no-registry", port=8001)
    try:
        with pytest.raises(EnvironmentException, match="RUNYARD_CONTAINER_REGISTRY=HOST"):
            other.submit(yard._folder / "refused", WAITS, Environment.from_docker_image(None, BASE))
    finally:
        other.close()
