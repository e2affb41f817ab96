"""Runs on a real Slurm whose nodes do not see the server's folder: all they need comes to them over the network."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from uv import find_uv_bin

from runyard import ComputeTarget, DataReference, Environment, SlurmCompute
from runyard.errors import ComputeTargetException
from runyard.job.processes import all_processes, marker_in, marker_of, send
from runyard.run import Run
from runyard.runconfig import PyTorchConfiguration, TensorflowConfiguration
from runyard_server.testing.gateway import Gateway
from runyard_server.testing.package_index import PackageIndex
from runyard_server.testing.slurm_cluster import started_cluster
from runyard_server.testing.slurm_yard import SlurmYard
from tests.end_to_end.waiting import WAITS

pytestmark = pytest.mark.slurm


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="module")
def yard(runyard_home: Path, scratch: Path) -> Iterator[SlurmYard]:
    """A workspace whose home the cluster's nodes do not see: in its place they have an empty folder."""
    with started_cluster(nodes=2, hidden=runyard_home) as cluster, cluster.inside():
        yard = SlurmYard(cluster, "own-disks", scratch=str(scratch))
        yield yard
        yard.close()


@pytest.fixture
def submit(yard: SlurmYard, this_python: Environment, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Submits a script given as text; what is left of its runs at the end is cancelled."""
    with yard.submitting(tmp_path, this_python) as submit:
        yield submit
    yard.cluster.clear()


Submit = Callable[..., Run]

SAYS_WHERE = """
import os, sys
import runyard
from runyard import Run
run = Run.get_context()
for step in range(3):
    run.log("loss", 1 / (1 + step))
os.makedirs("outputs", exist_ok=True)
open("outputs/model.txt", "w").write("weights")
os.makedirs("logs", exist_ok=True)
open("logs/notes.txt", "w").write("noted")
print("home", os.listdir(sys.argv[1]))
print("code", os.getcwd())
print("sdk", os.path.dirname(runyard.__file__))
"""


def test_a_run_is_whole_whose_node_has_nothing_of_the_server(
    yard: SlurmYard, submit: Submit, scratch: Path, runyard_home: Path
) -> None:
    run = submit(SAYS_WHERE, arguments=[str(runyard_home)])
    ended = yard.end(run)
    assert ended["status"] == "Completed", ended
    said = run._read_log("azureml-logs/70_driver_log.txt")
    assert "home []" in said, said
    assert f"code {scratch}" in said and f"sdk {scratch}" in said
    assert run.get_metrics()["loss"] == [1.0, 0.5, 1 / 3]
    assert {"outputs/model.txt", "logs/notes.txt"} <= set(run.get_file_names())
    assert run.verify()["ok"]
    yard.until(lambda: os.listdir(scratch / f"runyard-{os.geteuid()}" / "runs") == [], "the node's disk to be free")


def target(yard: SlurmYard, name: str, **options: Any) -> str:
    """Another compute target of the same nodes."""
    asked = {"partition": "main", "cpus_per_node": 2, "python": sys.executable, "scratch": "/tmp", **options}
    ComputeTarget.create(yard.workspace, name, SlurmCompute.provisioning_configuration(**asked))
    return name


def preparation(run: Run) -> str:
    return str(run._read_log("azureml-logs/65_job_prep-0.txt"))


@pytest.fixture
def packages(tmp_path: Path) -> Iterator[PackageIndex]:
    """A package index in the cluster's network: as in a cluster's own mirror, nothing else is reached."""
    index = PackageIndex(tmp_path / "packages")
    index.publish("colours", "1.2")
    yield index
    index.stop()


def test_the_environment_is_built_once_on_the_node_from_the_runs_lock(
    yard: SlurmYard, submit: Submit, packages: PackageIndex, scratch: Path
) -> None:
    environment = Environment("coloured")
    environment.python.conda_dependencies.add_pip_package("colours==1.2")
    environment.python.conda_dependencies.set_pip_option(f"--index-url {packages.url}")
    says = "import colours, sys\nprint('colours', colours.version, sys.prefix)"
    runs = [submit(says, environment), submit(says, environment)]
    for run in runs:
        assert yard.end(run)["status"] == "Completed", preparation(run)
    built = scratch / f"runyard-{os.geteuid()}" / "environments"
    assert f"colours 1.2 {built}" in runs[0]._read_log("azureml-logs/70_driver_log.txt")
    told = [preparation(run) for run in runs]
    assert sum("building environment" in text for text in told) == 1
    assert sum("is built on this node already" in text for text in told) == 1
    if shutil.which("uv") is None:
        assert (built / "uv").exists()  # the server's own


READS = """
import os, sys
import colours
mounted, downloaded, disk = sys.argv[1:]
for folder in (mounted, downloaded):
    print(open(os.path.join(folder, "numbers.txt")).read(), folder.startswith(disk))
print("colours", colours.version, "under", open("/proc/%d/cmdline" % os.getppid()).read().split("\\0")[0])
"""


@pytest.mark.python37
def test_an_old_node_with_a_uv_of_its_own_has_its_data_by_the_address_that_it_is_told_of_the_server(
    yard: SlurmYard, python37: str, packages: PackageIndex, tmp_path: Path
) -> None:
    uv = tmp_path / "tools" / "uv"
    uv.parent.mkdir()
    uv.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/uv-was-called\nexec {find_uv_bin()} "$@"\n')
    uv.chmod(0o755)
    disk = str(tmp_path / "disk")
    environment = Environment("coloured")
    environment.python.conda_dependencies.add_pip_package("colours==1.2")
    environment.python.conda_dependencies.set_pip_option(f"--index-url {packages.url}")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "numbers.txt").write_text("1 2 3")
    gateway = Gateway(yard.cluster.address, 8002, to=8001)
    behind = SlurmYard(yard.cluster, "behind-a-gateway", port=8001, public_url=gateway.url)
    try:
        datastore = behind.workspace.get_default_datastore()
        datastore.upload(str(tmp_path / "data"), "given", show_progress=False)
        old = target(behind, "old", python=python37, uv=str(uv), scratch=disk)
        given = [datastore.path("given").as_mount(), datastore.path("given").as_download(), disk]
        run = behind.submit(tmp_path / "source", READS, environment, compute_target=old, arguments=given)
        ended = behind.end(run)
        assert ended["status"] == "Completed", (ended, preparation(run))
        said = run._read_log("azureml-logs/70_driver_log.txt")
        assert said == f"1 2 3 True\n1 2 3 True\ncolours 1.2 under {python37}\n"
        assert any("is downloaded to them, not mounted" in str(warning) for warning in ended["warnings"])
        assert gateway.has_answered(b"HTTP/1.1 200")
        assert "venv" in (tmp_path / "uv-was-called").read_text()
    finally:
        behind.close()
        gateway.close()


def test_a_script_is_ended_gently_and_what_it_wrote_is_kept(
    yard: SlurmYard, submit: Submit, until: Callable[[Run, str], None]
) -> None:
    run = submit(
        "import os, signal\nos.makedirs('outputs', exist_ok=True)\nopen('outputs/kept', 'w').write('k')\n"
        "print('up', flush=True)\nsignal.pause()\n"
    )
    until(run, "up")
    run.cancel()
    assert yard.end(run)["status"] == "Canceled"
    assert "outputs/kept" in run.get_file_names()


def test_a_server_that_comes_back_finds_the_run_going_on(
    yard: SlurmYard, submit: Submit, tmp_path: Path, until: Callable[[Run, str], None]
) -> None:
    go = tmp_path / "go"
    run = submit(
        "import os, sys, time\nprint('up', flush=True)\n"
        "while not os.path.exists(sys.argv[1]):\n    time.sleep(0.1)\nprint('done')\n",
        arguments=[str(go)],
    )
    until(run, "up")
    yard.kill_server()
    go.touch()
    yard.server = yard.start_server()
    assert yard.end(run)["status"] == "Completed"
    assert "done" in run._read_log("azureml-logs/70_driver_log.txt")


def test_a_node_that_dies_is_told_of_and_nothing_is_said_to_be_kept_that_is_not(
    yard: SlurmYard, submit: Submit, until: Callable[[Run, str], None]
) -> None:
    run = submit(WAITS)
    until(run, "up")
    yard.cluster.lose_node("n1")
    try:
        error = yard.error(run)
    finally:
        yard.cluster.start_node("n1")
    assert error["code"] == "node_lost" and "outputs were on the node's own disk" in error["message"], error


WRITES = """
import os
rank = os.environ["RANK"]
for folder in ("outputs", "logs"):
    os.makedirs(folder, exist_ok=True)
open("outputs/of-%s.txt" % rank, "w").write(rank)
open("outputs/same.txt", "w").write("same")
open("outputs/model.txt", "w").write("weights of " + rank)
open("logs/of-%s.txt" % rank, "w").write(rank)
open("logs/notes.txt", "w").write("notes of " + rank)
print("on", os.environ["SLURMD_NODENAME"], "at", os.environ["MASTER_ADDR"])
"""


def test_what_several_nodes_wrote_becomes_one_tree_and_nothing_of_it_is_lost(yard: SlurmYard, submit: Submit) -> None:
    run = submit(WRITES, distributed_job_config=PyTorchConfiguration(node_count=2))
    ended = yard.end(run)
    assert ended["status"] == "Completed", ended
    names = {name for name in run.get_file_names() if name.startswith("outputs/")}
    own = "outputs/node-1/model.txt"
    assert names == {"outputs/of-0.txt", "outputs/of-1.txt", "outputs/same.txt", "outputs/model.txt", own}
    assert [run._read_file(name) for name in ("outputs/model.txt", own)] == [b"weights of 0", b"weights of 1"]
    notes = {name: run._read_file(name) for name in run.get_file_names() if name.startswith("logs/")}
    assert {"logs/of-0.txt": b"0", "logs/of-1.txt": b"1"}.items() <= notes.items()
    assert (notes["logs/notes.txt"], notes["logs/node-1/notes.txt"]) == (b"notes of 0", b"notes of 1")
    (warning,) = [str(text) for text in ended["warnings"] if "other bytes" in str(text)]
    assert "Node 1 wrote " in warning and "and 1 more with other bytes" in warning
    assert own in warning or "logs/node-1/notes.txt" in warning


@pytest.fixture
def apart(yard: SlurmYard, runyard_home: Path) -> str:
    """A target whose nodes do not even see each other's disk."""
    return target(yard, "apart", scratch=str(runyard_home / "disk"))


TELLS = "import os\nprint(os.environ['SLURMD_NODENAME'], os.environ['TF_CONFIG'])\n"


def test_tf_config_names_the_nodes_to_each_of_them(yard: SlurmYard, submit: Submit, apart: str) -> None:
    config = TensorflowConfiguration(worker_count=2, parameter_server_count=1)
    run = submit(TELLS, compute_target=apart, distributed_job_config=config)
    assert yard.end(run)["status"] == "Completed", yard.end(run)
    seen = []
    for number in range(2):
        node, _, told = run._read_log(f"azureml-logs/70_driver_log_worker_{number}.txt").partition(" ")
        said = json.loads(told)
        hosts = {kind: [address.split(":")[0] for address in found] for kind, found in said["cluster"].items()}
        seen.append((node, said["task"], hosts))
    everybody = {"worker": ["n1", "n2"], "ps": ["n1"]}
    assert seen == [
        ("n1", {"type": "worker", "index": 0}, everybody),
        ("n2", {"type": "worker", "index": 1}, everybody),
    ]


def test_the_other_nodes_do_not_outlive_one_whose_processes_are_all_killed(
    yard: SlurmYard, submit: Submit, until: Callable[[Run, str], None]
) -> None:
    run = submit(WAITS, distributed_job_config=PyTorchConfiguration(node_count=2))
    log = "azureml-logs/70_driver_log_1.txt"
    yard.until(lambda: any(file == log for file, _ in _logs(yard, run)), "the second node's rank")
    table, own = all_processes(), marker_of(run.id, 1, 1)
    marked = [pid for pid in table if marker_in(pid) == own]
    killed = {*marked, *(table[pid].parent for pid in marked)}
    for number in (signal.SIGSTOP, signal.SIGKILL):  # none of them lives to tell of another's end
        for pid in sorted(killed):
            send(pid, number)
    error = yard.error(run)
    assert error["code"] == "job_lost" and "node 1" in error["message"], error


def _logs(yard: SlurmYard, run: Run) -> list[tuple[str, int]]:
    found = yard.workspace.transport.call("GET", f"/runs/{run.id}/logs")
    return [(log["name"], log["size"]) for log in found if log["size"]]


def test_a_node_that_does_not_reach_the_server_fails_the_run_with_that_message(
    yard: SlurmYard, this_python: Environment, tmp_path: Path, scratch: Path
) -> None:
    nowhere = f"http://{yard.cluster.address}:9"
    unreached = SlurmYard(yard.cluster, "not-reached", port=8001, scratch=str(scratch), public_url=nowhere)
    try:
        error = unreached.error(unreached.submit(tmp_path / "source", "", this_python))
    finally:
        unreached.close()
    assert error["code"] == "start_failed" and "--public-url" in error["message"], error
    assert f"does not reach this server at {nowhere}" in error["message"]


def test_a_disk_that_cannot_be_written_to_fails_the_run_with_that_message(yard: SlurmYard, submit: Submit) -> None:
    error = yard.error(submit("", compute_target=target(yard, "no-disk", scratch="/proc/no/such")))
    assert error["code"] == "start_failed" and "'/proc/no/such'" in error["message"], error


def test_a_full_disk_fails_the_run_with_that_message(yard: SlurmYard, submit: Submit, tmp_path: Path) -> None:
    full = tmp_path / "full"
    mount = f"mkdir -p {full}; mount -t tmpfs -o size=16k none {full}"
    error = yard.error(submit("", compute_target=target(yard, "full-disk", scratch=str(full), setup=[mount])))
    assert error["code"] == "start_failed" and "No space left on device" in error["message"], error


def test_a_node_without_a_python_that_serves_fails_the_run_with_that_message(yard: SlurmYard, submit: Submit) -> None:
    error = yard.error(submit("", compute_target=target(yard, "no-python", python="/bin/false")))
    assert error["code"] == "start_failed" and "missing or older than 3.7" in error["message"], error


def test_a_node_without_the_uv_that_is_named_fails_the_run_with_that_message(
    yard: SlurmYard, submit: Submit, packages: PackageIndex
) -> None:
    environment = Environment("coloured")
    environment.python.conda_dependencies.add_pip_package("colours==1.2")
    environment.python.conda_dependencies.set_pip_option(f"--index-url {packages.url}")
    run = submit("", environment, compute_target=target(yard, "no-uv", scratch="/tmp", uv="no-such-uv"))
    error = yard.error(run)
    assert error["code"] == "preparation_failed" and "'no-such-uv'" in error["message"], error


def test_what_such_nodes_cannot_do_is_refused_at_submission_with_the_cure(yard: SlurmYard, submit: Submit) -> None:
    solved = Environment("solved")
    solved.python.conda_dependencies.add_conda_package("numpy")
    solved.python.conda_solver = "always"
    with pytest.raises(ComputeTargetException, match="pip's packages alone"):
        submit("", solved)
    place = DataReference(yard.workspace.get_default_datastore(), "results", path_on_datastore="nothing/there")
    with pytest.raises(ComputeTargetException, match="as_upload"):
        submit("", arguments=[place.as_mount()])
