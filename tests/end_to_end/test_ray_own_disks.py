"""Runs on a real Ray whose nodes do not see the server's folder: all they need comes to them over the network."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runyard import ComputeTarget, Environment, RayCompute
from runyard.job.processes import all_processes, marker_in
from runyard.run import Run
from runyard.runconfig import MpiConfiguration, PyTorchConfiguration, TensorflowConfiguration
from runyard_server.testing.ray_cluster import started_cluster
from runyard_server.testing.ray_yard import RayYard
from tests.end_to_end.meeting import MEETING
from tests.end_to_end.ray_notices import SAVES, assert_told_and_kept
from tests.end_to_end.waiting import WAITS

# MPI's packages come before the cluster, which reaches nobody.
pytestmark = [pytest.mark.ray, pytest.mark.network, pytest.mark.slow]

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
def yard(runyard_home: Path, scratch: Path, with_mpi: Environment) -> Iterator[RayYard]:
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
    run = yard.submit(tmp_path / "source", WAITS, this_python)
    until(run, "up")
    run.cancel()
    assert yard.end(run)["status"] == "Canceled"


@pytest.fixture(scope="module")
def apart(yard: RayYard, runyard_home: Path) -> str:
    """A target whose nodes do not even see each other's disk: each has another one there."""
    disk = str(runyard_home / "disk")
    asked = RayCompute.attach_configuration(yard.cluster.url, yard.cluster.token, cpus_per_node=2, scratch=disk)
    ComputeTarget.attach(yard.workspace, "apart", asked)
    return "apart"


@pytest.fixture
def submit(yard: RayYard, apart: str, this_python: Environment, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Submits a script given as text to two such nodes; what is left of its runs at the end is cancelled."""
    gang = PyTorchConfiguration(node_count=2)
    with yard.submitting(tmp_path, this_python, compute_target=apart, distributed_job_config=gang) as submit:
        yield submit


Submit = Callable[..., Run]

MEETS = f"""{MEETING}
import sys
print("heard", heard("hello from " + os.environ["MASTER_ADDR"]))
os.makedirs("outputs", exist_ok=True)
open("outputs/of-%d.txt" % rank, "w").write(str(rank))
open("outputs/same.txt", "w").write("same")
open("outputs/model.txt", "w").write("weights of %d" % rank)
print("disk", os.listdir(os.path.join(sys.argv[1], "disk", "runyard-%d" % os.geteuid(), "runs")))
print("of ray", [name for name in os.environ if name.startswith("RAY_")])
"""


def test_two_nodes_find_each_other_and_what_they_wrote_becomes_one_tree(
    yard: RayYard, submit: Submit, runyard_home: Path
) -> None:
    run = submit(MEETS, arguments=[str(runyard_home)])
    ended = yard.end(run)
    assert ended["status"] == "Completed", ended
    said = [run._read_log(f"azureml-logs/70_driver_log_{rank}.txt") for rank in range(2)]
    assert "heard hello from 10.9.0." in said[1]
    for rank, text in enumerate(said):  # each disk has one node's folder, and that is its own
        assert f"disk ['{run.id}-1-{rank}-" in text and text.count(run.id) == 1 and "of ray []" in text, text
    names = {name for name in run.get_file_names() if name.startswith("outputs/")}
    own = "outputs/node-1/model.txt"
    assert names == {"outputs/of-0.txt", "outputs/of-1.txt", "outputs/same.txt", "outputs/model.txt", own}
    assert [run._read_file(name) for name in ("outputs/model.txt", own)] == [b"weights of 0", b"weights of 1"]
    (warning,) = [text for text in ended["warnings"] if "other bytes" in str(text)]
    assert "outputs/model.txt" in str(warning) and own in str(warning)


def test_tf_config_names_the_nodes_to_each_of_them(yard: RayYard, submit: Submit) -> None:
    config = TensorflowConfiguration(worker_count=2, parameter_server_count=1)
    run = submit("import os\nprint(os.environ['TF_CONFIG'])\n", distributed_job_config=config)
    assert yard.end(run)["status"] == "Completed", yard.end(run)
    told = [json.loads(run._read_log(f"azureml-logs/70_driver_log_worker_{number}.txt")) for number in range(2)]
    hosts = [address.split(":")[0] for address in told[0]["cluster"]["worker"]]
    assert set(hosts) == set(yard.cluster.addresses.values())
    assert told[0]["cluster"] == told[1]["cluster"]
    assert [each["task"] for each in told] == [{"type": "worker", "index": 0}, {"type": "worker", "index": 1}]


def test_a_failed_rank_ends_those_on_other_nodes_and_is_the_cause(yard: RayYard, submit: Submit) -> None:
    fails = "import os, signal\nif os.environ['RANK'] == '1':\n    raise SystemExit(4)\nsignal.pause()\n"
    error = yard.error(submit(fails))
    assert (error["code"], error["rank"], error["exit_code"]) == ("script_failed", 1, 4)


def test_a_gang_waits_with_its_reason_is_taken_out_and_leaves_what_runs_alone(
    yard: RayYard, submit: Submit, until: Callable[[Run, str], None]
) -> None:
    first = submit(WAITS)
    until(first, "up")
    second = submit(WAITS)
    yard.until(lambda: "waits for 2 nodes with 2 CPUs to become free" in yard.why(second), "what its driver says")
    second.cancel()
    assert yard.end(second)["status"] == "Canceled"
    assert first.get_status() == "Running"
    first.cancel()
    assert yard.end(first)["status"] == "Canceled"
    yard.until_gone(first, second)


def test_a_server_that_comes_back_finds_the_gang_going_on_and_one_that_waits_begin(
    yard: RayYard, submit: Submit, tmp_path: Path, until: Callable[[Run, str], None]
) -> None:
    go = tmp_path / "go"
    waits = (
        "import os, sys, time\nprint('up', flush=True)\nwhile not os.path.exists(sys.argv[1]):\n    time.sleep(0.1)\n"
    )
    run = submit(waits + "print('done')\n", arguments=[str(go)])
    until(run, "up")
    waiting = submit("print('after all')")
    yard.until(lambda: "to become free" in yard.why(waiting), "what its driver says")
    yard.kill_server()
    go.touch()
    yard.server = yard.start_server()
    assert yard.end(run)["status"] == "Completed", yard.end(run)
    assert [run._read_log(f"azureml-logs/70_driver_log_{rank}.txt") for rank in (0, 1)] == ["up\ndone\n"] * 2
    assert yard.end(waiting)["status"] == "Completed", yard.end(waiting)


def test_mpi_brings_the_ranks_of_two_nodes_together(yard: RayYard, submit: Submit, with_mpi: Environment) -> None:
    sums = "from mpi4py import MPI\nworld = MPI.COMM_WORLD\nprint(world.allreduce(world.rank + 1), world.rank)\n"
    run = submit(sums, with_mpi, distributed_job_config=MpiConfiguration(process_count_per_node=2, node_count=2))
    assert yard.end(run)["status"] == "Completed", yard.end(run)
    said = [run._read_log(f"azureml-logs/70_driver_log_{rank}.txt").split() for rank in range(4)]
    assert said == [["10", str(rank)] for rank in range(4)]


def test_a_node_that_dies_is_the_cause_and_the_others_end(
    yard: RayYard, submit: Submit, until: Callable[[Run, str], None]
) -> None:
    run = submit(WAITS)
    until(run, "up")
    with yard.cluster.without_node("n2"):
        error = yard.error(run)
        assert error["code"] == "node_lost" and "outputs were on the node's own disk" in error["message"], error
        yard.until_gone(run)


def test_a_script_on_one_node_is_told_before_it_is_taken_away_and_what_it_saves_is_kept(
    yard: RayYard, this_python: Environment, tmp_path: Path, until: Callable[[Run, str], None]
) -> None:
    run = yard.submit(tmp_path / "source", SAVES, this_python)
    until(run, "up []")
    assert_told_and_kept(yard, run, yard.cluster.node_of(yard.job_of(run)), "outputs/saved-alone")


def test_the_ranks_of_a_gang_are_told_before_one_of_their_nodes_is_taken_away_and_what_they_save_is_kept(
    yard: RayYard, submit: Submit
) -> None:
    run = submit(SAVES)
    logs = [f"azureml-logs/70_driver_log_{rank}.txt" for rank in (0, 1)]
    yard.until(lambda: all("up []" in yard.log(run, name) for name in logs), "both ranks")
    assert_told_and_kept(yard, run, "n2", "outputs/saved-0", "outputs/saved-1")


def test_a_node_whose_first_process_is_killed_is_the_cause_though_its_peer_waits_for_it(
    yard: RayYard, submit: Submit, until: Callable[[Run, str], None]
) -> None:
    run = submit(WAITS)
    until(run, "up")
    yard.until(lambda: holders_of(run, 1) != [], "the second node's job")
    (held,) = holders_of(run, 1)
    os.kill(held, signal.SIGKILL)
    error = yard.error(run)
    assert error["code"] == "job_lost" and "was ended by SIGKILL" in error["message"], error
    assert "node 1" in error["message"]
    yard.until_gone(run)


def holders_of(run: Run, node: int) -> list[int]:
    """What Ray has started on a node: above the task, which stands above the job and everything with the run's mark."""
    table = all_processes()
    marked = {pid for pid in table if marker_in(pid) == f"{run.id}/1/{node}"}
    return [table[task].parent for task in {table[pid].parent for pid in marked} - marked]
