"""Runs in containers on nodes of a real Ray, in a shared folder and on the nodes' own disks, with their data."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from runyard import ComputeTarget, Environment, RayCompute, Run
from runyard import home as places
from runyard.runconfig import PyTorchConfiguration
from runyard_server.testing.container_host import BASE, ContainerHost, started_host
from runyard_server.testing.ray_cluster import RayCluster
from runyard_server.testing.ray_yard import RayYard
from runyard_server.testing.wheels import make_wheel
from tests.end_to_end.in_an_image import in_an_image
from tests.end_to_end.meeting import MEETING

pytestmark = [pytest.mark.ray, pytest.mark.containers, pytest.mark.slow]

NODES = "nodes"  # the storage of images that the nodes have: another one than the server's
OWN = "ray-containers-own"  # the workspace whose folder the nodes do not see


class Yard:
    """Two nodes of the cluster's that have podman, and two workspaces: the nodes see the folder of one of them."""

    def __init__(self, shared: RayYard, own: RayYard, containers: ContainerHost) -> None:
        self.shared = shared
        self.own = own
        self.containers = containers

    def attach(self, yard: RayYard, scratch: str = "") -> None:
        """Makes those two nodes a target."""
        cluster = yard.cluster
        asked = RayCompute.attach_configuration(
            cluster.url, cluster.token, cpus_per_node=2, resources={"podman": 1}, scratch=scratch
        )
        ComputeTarget.attach(yard.workspace, "with-podman", asked)

    def until_no_container_is_left(self) -> None:
        self.containers.until(lambda: self.containers.containers(NODES) == [], "the end of all containers")


@pytest.fixture(scope="module")
def yard(runyard_home: Path, ray_cluster: RayCluster) -> Iterator[Yard]:
    with ExitStack() as stack:
        stack.enter_context(ray_cluster.inside())
        host = stack.enter_context(started_host(ray_cluster.server_address))
        stack.enter_context(host.used())
        host.add_storage(NODES)
        shared, own = RayYard(ray_cluster, "ray-containers"), RayYard(ray_cluster, OWN, port=8001)
        stack.callback(shared.close)
        stack.callback(own.close)
        podman = {**host.environment, "CONTAINERS_STORAGE_CONF": str(host.storage_conf(NODES))}
        for _ in range(2):
            with_podman = ray_cluster.one_more_node(variables=podman, resources={"podman": 1}, hidden=Path(own.folder))
            stack.enter_context(with_podman)
        yard = Yard(shared, own, host)
        yard.attach(shared)
        yard.attach(own, scratch=disk())
        yield yard


def disk() -> str:
    """What each node has for itself: it lies in the folder in whose place each of them has an empty one."""
    return f"{places.workspace_folder(OWN)}/disk"


MEETS = f"""{MEETING}
import alpha, sys
import runyard
home, data = sys.argv[1:]
print("heard", heard("hello"), "with", alpha.version, "at", sys.prefix)
os.makedirs("outputs", exist_ok=True)
open("outputs/of-%d.txt" % rank, "w").write(str(rank))
open("outputs/model.txt", "w").write("weights of %d" % rank)
print("of ray", [name for name in os.environ if name.startswith("RAY_")], "of runyard", os.path.exists(home))
print("sdk", os.path.dirname(runyard.__file__), "code", os.getcwd(), "data", data)
print("read", open(os.path.join(data, "numbers.txt")).read())
"""


def test_the_ranks_of_two_nodes_that_share_nothing_meet_in_containers_and_have_their_data(
    yard: Yard, tmp_path: Path
) -> None:
    make_wheel(tmp_path, "alpha", "1.0")
    environment = in_an_image(tmp_path, "alpha")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "numbers.txt").write_text("1 2 3")
    datastore = yard.own.workspace.get_default_datastore()
    datastore.upload(str(tmp_path / "data"), "given", show_progress=False)
    run = yard.own.submit(
        tmp_path / "source",
        MEETS,
        environment,
        compute_target="with-podman",
        arguments=[str(Path(yard.own.folder, "records.db")), datastore.path("given").as_download()],
        distributed_job_config=PyTorchConfiguration(node_count=2),
    )
    ended = yard.own.end(run)
    assert ended["status"] == "Completed", ended
    for rank, heard in enumerate(("None", "hello")):
        said = run._read_log(f"azureml-logs/70_driver_log_{rank}.txt")
        assert f"heard {heard} with 1.0 at /runyard/env\nof ray [] of runyard False\nsdk {disk()}/" in said, said
        assert f" code {disk()}/" in said and f" data {disk()}/" in said and "read 1 2 3" in said, said
    image = f"fetching the image {yard.containers.registry}/runyard/environment@sha256:"
    assert any(image in run._read_log(f"azureml-logs/65_job_prep-{node}.txt") for node in (0, 1))
    written = {name for name in run.get_file_names() if name.startswith("outputs/")}
    assert written == {"outputs/of-0.txt", "outputs/of-1.txt", "outputs/model.txt", "outputs/node-1/model.txt"}
    assert run.verify()["ok"]
    yard.until_no_container_is_left()


WRITES = """
import os, signal, sys
os.makedirs("outputs", exist_ok=True)
open("outputs/model.txt", "w").write("weights")
open(os.path.join(sys.argv[1], "found.txt"), "w").write("more")
print("up with", os.listdir(sys.argv[1]), [name for name in os.environ if name.startswith("RAY_")], flush=True)
signal.pause()
"""


def test_in_a_shared_folder_a_container_writes_to_its_data_and_ends_with_its_job_however_that_is_killed(
    yard: Yard, tmp_path: Path, until: Callable[[Run, str], None]
) -> None:
    ray, environment = yard.shared, Environment.from_docker_image("as-it-is", BASE)
    datastore = ray.workspace.get_default_datastore()
    cancelled, lost = (
        ray.submit(
            tmp_path / name,
            WRITES,
            environment,
            compute_target="with-podman",
            arguments=[datastore.path(name).as_mount()],
        )
        for name in ("cancelled", "lost")
    )
    for run in (cancelled, lost):
        until(run, "up with ['found.txt'] []")
    assert len(yard.containers.containers(NODES)) == 2
    cancelled.cancel()
    assert ray.end(cancelled)["status"] == "Canceled"
    node = ray.cluster.node_of(ray.job_of(lost))
    ray.cluster.warn_of(node, within_s=1)
    ray.cluster.kill_node(node)
    assert ray.error(lost)["code"] == "preempted", ray.error(lost)
    assert all("outputs/model.txt" in run.get_file_names() for run in (cancelled, lost))
    datastore.download(str(tmp_path / "back"), "lost", show_progress=False)
    assert (tmp_path / "back" / "lost" / "found.txt").read_text() == "more"
    yard.until_no_container_is_left()
