"""Containers on nodes of a real Slurm that do not see the server's folder: the image comes from the registry."""

from pathlib import Path

import pytest

from runyard.runconfig import PyTorchConfiguration
from runyard_server.testing.container_host import started_host
from runyard_server.testing.slurm_cluster import started_cluster
from runyard_server.testing.slurm_yard import SlurmYard
from runyard_server.testing.wheels import make_wheel
from tests.end_to_end.in_an_image import in_an_image

pytestmark = [pytest.mark.slurm, pytest.mark.containers]

NODES = "nodes"  # the storage of images that the nodes have: another one than the server's

SAYS_WHERE = """
import alpha, os, sys
import runyard
from runyard import Run
rank = os.environ["RANK"]
Run.get_context().log("rank", int(rank))
os.makedirs("outputs", exist_ok=True)
open("outputs/of-%s.txt" % rank, "w").write(rank)
open("outputs/model.txt", "w").write("weights of " + rank)
print(os.environ["SLURMD_NODENAME"], alpha.version, sys.prefix, os.path.dirname(runyard.__file__), os.getcwd())
print("home", os.path.exists(sys.argv[1]))
"""


def test_the_ranks_of_two_nodes_that_share_nothing_run_in_containers_of_an_image_from_the_registry(
    runyard_home: Path, tmp_path: Path
) -> None:
    make_wheel(tmp_path, "alpha", "1.0")
    environment = in_an_image(tmp_path, "alpha")
    disks = tmp_path / "disks"
    with (
        started_cluster(nodes=2, hidden=runyard_home) as cluster,
        cluster.inside(),
        started_host(cluster.address) as host,
        host.used(),
    ):
        host.add_storage(NODES)
        podman = f"export CONTAINERS_STORAGE_CONF={host.storage_conf(NODES)}"
        yard = SlurmYard(cluster, "own-disks-containers", scratch=f"{disks}/$SLURMD_NODENAME", setup=[podman])
        try:
            two = PyTorchConfiguration(node_count=2)
            home = [str(runyard_home)]
            run = yard.submit(tmp_path / "source", SAYS_WHERE, environment, arguments=home, distributed_job_config=two)
            ended = yard.end(run)
            assert ended["status"] == "Completed", ended
            for rank in (0, 1):
                said = run._read_log(f"azureml-logs/70_driver_log_{rank}.txt")
                node, version, prefix, sdk, code = said.splitlines()[0].split()
                assert (node, version, prefix) == (f"n{rank + 1}", "1.0", "/runyard/env")
                assert sdk.startswith(str(disks / node)) and code.startswith(str(disks / node))
                assert said.splitlines()[1] == "home False"
            image = f"fetching the image {host.registry}/runyard/environment@sha256:"  # one of them may find it there
            assert any(image in run._read_log(f"azureml-logs/65_job_prep-{node}.txt") for node in (0, 1))
            own = "outputs/node-1/model.txt"
            assert {"outputs/of-0.txt", "outputs/of-1.txt", "outputs/model.txt", own} <= set(run.get_file_names())
            assert sorted(run.get_metrics()["rank"]) == [0, 1]
            host.until(lambda: host.containers(NODES) == [], "the end of all containers")
        finally:
            yard.close()
            cluster.clear()
