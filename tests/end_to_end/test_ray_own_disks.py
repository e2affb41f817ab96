"""Runs on a real Ray whose nodes do not see the server's folder: all they need comes to them over the network."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runyard import Environment
from runyard.errors import ComputeTargetException
from runyard.run import Run
from runyard.runconfig import PyTorchConfiguration
from runyard_server.testing.ray_cluster import started_cluster
from runyard_server.testing.ray_yard import RayYard

pytestmark = pytest.mark.ray

SAYS_WHERE = """
import os, sys
import runyard
from runyard import Run
Run.get_context().log("loss", 0.5)
os.makedirs("outputs", exist_ok=True)
open("outputs/model.txt", "w").write("weights")
print("home", os.listdir(sys.argv[1]))
print("code", os.getcwd())
print("sdk", os.path.dirname(runyard.__file__))
print("of ray", [name for name in os.environ if name.startswith("RAY_")])
"""


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="module")
def yard(runyard_home: Path, scratch: Path) -> Iterator[RayYard]:
    """A workspace whose home the cluster's nodes do not see: in its place they have an empty folder."""
    with started_cluster(nodes=2, hidden=runyard_home) as cluster, cluster.inside():
        yard = RayYard(cluster, "ray-own-disks", scratch=str(scratch))
        yield yard
        yard.close()


def test_a_run_is_whole_whose_node_has_nothing_of_the_server(
    yard: RayYard, this_python: Environment, tmp_path: Path, scratch: Path, runyard_home: Path
) -> None:
    run = yard.submit(tmp_path / "source", SAYS_WHERE, this_python, arguments=[str(runyard_home)])
    ended = yard.end(run)
    assert ended["status"] == "Completed", ended
    said = run._read_log("azureml-logs/70_driver_log.txt")
    assert "home []" in said and "of ray []" in said, said
    assert f"code {scratch}" in said and f"sdk {scratch}" in said
    assert run.get_metrics()["loss"] == 0.5
    assert "outputs/model.txt" in run.get_file_names()
    assert run.verify()["ok"]
    yard.until(lambda: os.listdir(scratch / f"runyard-{os.geteuid()}" / "runs") == [], "the node's disk to be free")


def test_a_script_that_fails_is_told_with_its_exit_code(
    yard: RayYard, this_python: Environment, tmp_path: Path
) -> None:
    error = yard.error(yard.submit(tmp_path / "source", "raise SystemExit(3)", this_python))
    assert (error["code"], error["exit_code"]) == ("script_failed", 3)


def test_a_running_one_is_cancelled(
    yard: RayYard, this_python: Environment, tmp_path: Path, until: Callable[[Run, str], None]
) -> None:
    run = yard.submit(tmp_path / "source", "import signal\nprint('up', flush=True)\nsignal.pause()\n", this_python)
    until(run, "up")
    run.cancel()
    assert yard.end(run)["status"] == "Canceled"


def test_several_nodes_are_refused_with_what_is_possible(
    yard: RayYard, this_python: Environment, tmp_path: Path
) -> None:
    with pytest.raises(ComputeTargetException, match="one node at a time under Ray"):
        yard.submit(tmp_path / "source", "", this_python, distributed_job_config=PyTorchConfiguration(node_count=2))
