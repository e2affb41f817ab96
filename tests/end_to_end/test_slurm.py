"""Runs on a real Slurm: the same calls and the same history as on this machine, and a true end whatever is killed."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runyard import ComputeTarget, Environment, Experiment, ScriptRunConfig, SlurmCompute, Workspace, embedded
from runyard import home as places
from runyard.errors import ComputeTargetException
from runyard.job.processes import all_processes, marker_in
from runyard.run import Run
from runyard.runconfig import MpiConfiguration, PyTorchConfiguration, TensorflowConfiguration
from runyard_server.testing.slurm_cluster import SlurmCluster, started_cluster

pytestmark = pytest.mark.slurm

_A_MOMENT = threading.Event()  # never set: Slurm is outside, all that one can do is look again
PATIENCE_S = 90.0

SAYS_MUCH = """
import os, socket, sys
from runyard import Run
run = Run.get_context()
for step in range(3):
    run.log("loss", 1 / (1 + step))
os.makedirs("outputs", exist_ok=True)
open("outputs/model.txt", "w").write("weights")
print("trained on", os.environ["SLURMD_NODENAME"], "with", sys.argv[1])
"""
WAITS = "import signal\nprint('up', flush=True)\nsignal.pause()\n"


class SlurmYard:
    """A workspace whose server stands beside the controller, and the cluster's nodes as its compute target."""

    def __init__(self, cluster: SlurmCluster, name: str) -> None:
        self.cluster = cluster
        self.folder = places.workspace_folder(name)
        self.server = self.start_server()
        self.workspace = Workspace.create(name, exist_ok=True, show_output=False)
        # Whole nodes of the cluster's: a run that has one keeps others away.
        asked = SlurmCompute.provisioning_configuration(partition="main", cpus_per_node=2, python=sys.executable)
        self.compute = ComputeTarget.create(self.workspace, "cluster", asked)

    def start_server(self) -> "subprocess.Popen[bytes]":
        """A server that the nodes reach; returns once it answers."""
        command = [sys.executable, "-m", "runyard_server", "--home", self.folder]
        command += ["--host", self.cluster.address, "--plain-http", "--port", "8000"]
        paths = os.pathsep.join(path for path in sys.path if path)
        server = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.DEVNULL)
        self.until(lambda: embedded.running(self.folder) is not None, "the server")
        return server

    def kill_server(self) -> None:
        self.server.kill()
        self.server.wait()

    def submit(self, source: Path, text: str, environment: Environment, **config: Any) -> Run:
        source.mkdir()
        (source / "train.py").write_text(text)
        config = {"compute_target": "cluster", "environment": environment, **config}
        return Experiment(self.workspace, "tests").submit(ScriptRunConfig(str(source), "train.py", **config))

    def why(self, run: Run) -> str:
        return str(self.workspace.transport.call("GET", f"/runs/{run.id}/why")["reason"])

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            _A_MOMENT.wait(0.1)

    def end(self, run: Run) -> dict[str, Any]:
        """The run's details once it has ended."""
        deadline = time.monotonic() + PATIENCE_S
        while run.get_status() not in ("Completed", "Failed", "Canceled"):
            assert time.monotonic() < deadline, f"{run.id} does not end ({run.get_status()}): {self.why(run)}"
            _A_MOMENT.wait(0.1)
        return dict(run.get_details())

    def error(self, run: Run) -> dict[str, Any]:
        """The cause of a failure, once the run has failed."""
        assert self.end(run)["status"] == "Failed", self.end(run)
        return dict(run._refresh()["error"])

    def close(self) -> None:
        self.workspace.transport.close()
        self.server.terminate()
        self.server.wait()


@pytest.fixture(scope="module")
def slurm_cluster() -> Iterator[SlurmCluster]:
    with started_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def yard(slurm_cluster: SlurmCluster, runyard_home: Path) -> Iterator[SlurmYard]:
    with slurm_cluster.inside():
        yard = SlurmYard(slurm_cluster, "on-slurm")
        yield yard
        yard.close()


@pytest.fixture
def submit(yard: SlurmYard, this_python: Environment, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Submits a script given as text to the cluster; what is left of its runs at the end is cancelled."""
    made: list[Run] = []

    def submit(text: str, **config: Any) -> Run:
        made.append(yard.submit(tmp_path / f"source-{len(made)}", text, this_python, **config))
        return made[-1]

    yield submit
    for run in made:
        run.cancel()
    yard.cluster.clear()


Submit = Callable[..., Run]
Until = Callable[[Run, str], None]


def test_a_script_runs_on_a_node_with_the_same_history_as_on_this_machine(yard: SlurmYard, submit: Submit) -> None:
    run = submit(SAYS_MUCH, arguments=["a b", "'c'"])
    ended = yard.end(run)
    assert ended["status"] == "Completed", ended
    assert "trained on n1 with a b" in run._read_log("azureml-logs/70_driver_log.txt")
    assert run.get_metrics()["loss"] == [1.0, 0.5, 1 / 3]
    assert "outputs/model.txt" in run.get_file_names()
    assert run.verify()["ok"]
    story = [event["to_status"] for event in yard.workspace.transport.call("GET", f"/runs/{run.id}/events")]
    assert story == ["Starting", "Preparing", "Queued", "Running", "Finalizing", "Completed"]


def test_a_script_that_fails_is_told_with_its_exit_code_and_traceback(yard: SlurmYard, submit: Submit) -> None:
    exits, raises = submit("raise SystemExit(3)"), submit("raise ValueError('no data')")
    error = yard.error(exits)
    assert (error["code"], error["exit_code"]) == ("script_failed", 3)
    assert "ValueError: no data" in yard.error(raises)["traceback"]


ENVIRONMENT = """
import json, os, socket
names = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "TF_CONFIG")
print(json.dumps({name: os.environ[name] for name in names if name in os.environ}), os.environ["SLURMD_NODENAME"])
"""
SUM = """
import os
from mpi4py import MPI
world = MPI.COMM_WORLD
print(world.allreduce(world.rank + 1), os.environ["OMPI_COMM_WORLD_RANK"], os.environ["SLURMD_NODENAME"], flush=True)
"""
MEETS = """
import os, socket
host, port, rank = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), int(os.environ["RANK"])
if rank == 0:
    server = socket.create_server((host, port))
    other = server.accept()[0]
    other.sendall(b"hello from " + os.environ["SLURMD_NODENAME"].encode())
else:
    while True:
        try:
            with socket.create_connection((host, port)) as connection:
                print(os.environ["SLURMD_NODENAME"], "heard", connection.recv(99).decode())
                break
        except ConnectionRefusedError:
            pass
os.makedirs("outputs", exist_ok=True)
open("outputs/rank-%d.txt" % rank, "w").write(str(rank))
"""


def test_the_ranks_of_two_nodes_find_each_other(yard: SlurmYard, submit: Submit) -> None:
    torch = submit(MEETS, distributed_job_config=PyTorchConfiguration(node_count=2))
    assert yard.end(torch)["status"] == "Completed", yard.end(torch)
    assert "n2 heard hello from n1" in torch._read_log("azureml-logs/70_driver_log_1.txt")
    assert {"outputs/rank-0.txt", "outputs/rank-1.txt"} <= set(torch.get_file_names())


def test_tf_config_names_the_nodes(yard: SlurmYard, submit: Submit) -> None:
    run = submit(ENVIRONMENT, distributed_job_config=TensorflowConfiguration(worker_count=2, parameter_server_count=1))
    assert yard.end(run)["status"] == "Completed", yard.end(run)
    said, _, node = run._read_log("azureml-logs/70_driver_log_worker_1.txt").rpartition(" ")
    config = json.loads(json.loads(said)["TF_CONFIG"])
    hosts = {task: [address.split(":")[0] for address in found] for task, found in config["cluster"].items()}
    assert hosts == {"worker": ["n1", "n2"], "ps": ["n1"]}
    assert node.strip() == "n2"


@pytest.mark.network
def test_mpi_brings_the_ranks_of_two_nodes_together(yard: SlurmYard, tmp_path: Path) -> None:
    environment = Environment("with-mpi")
    environment.python.conda_dependencies.add_pip_package("mpi4py==4.1.2")
    config = MpiConfiguration(process_count_per_node=2, node_count=2)
    run = yard.submit(tmp_path / "source", SUM, environment, distributed_job_config=config)
    assert yard.end(run)["status"] == "Completed", yard.end(run)
    said = [run._read_log(f"azureml-logs/70_driver_log_{rank}.txt").split() for rank in range(4)]
    assert said == [["10", "0", "n1"], ["10", "1", "n1"], ["10", "2", "n2"], ["10", "3", "n2"]]


def test_a_failed_rank_ends_those_on_other_nodes_and_is_the_cause(yard: SlurmYard, submit: Submit) -> None:
    fails = "import os, signal\nif os.environ['RANK'] == '1':\n    raise SystemExit(4)\nsignal.pause()\n"
    run = submit(fails, distributed_job_config=PyTorchConfiguration(node_count=2))
    assert yard.error(run)["exit_code"] == 4
    assert remains_of(run) == []


def test_a_run_waits_in_slurms_queue_with_slurms_reason_and_can_be_taken_out(
    yard: SlurmYard, submit: Submit, until: Until
) -> None:
    first = submit(WAITS, distributed_job_config=PyTorchConfiguration(node_count=3))
    yard.until(lambda: first.get_status() == "Running", "the first run")
    second = submit(WAITS, distributed_job_config=PyTorchConfiguration(node_count=3, process_count=6))
    yard.until(lambda: "(Resources)" in yard.why(second), "Slurm's reason")
    assert second.get_status() == "Queued"
    assert "waits for nodes to become free" in yard.why(second)
    second.cancel()
    assert yard.end(second)["status"] == "Canceled"
    counts = yard.compute.get_status().serialize()["nodeStateCounts"]
    assert counts["runningNodeCount"] == 3
    first.cancel()
    assert yard.end(first)["status"] == "Canceled"
    assert remains_of(first) == []
    yard.until(lambda: yard.cluster.call("squeue", "-h", "-t", "PENDING,RUNNING") == "", "an empty queue")


def test_a_job_that_somebody_cancels_in_slurm_fails_and_says_so(yard: SlurmYard, submit: Submit, until: Until) -> None:
    run = submit(WAITS)
    until(run, "up")
    yard.cluster.call("scancel", "--user=root")
    error = yard.error(run)
    assert (error["code"], error["signal"]) == ("signaled", "SIGTERM")


def test_a_killed_rank_and_a_killed_job_are_told_as_such(yard: SlurmYard, submit: Submit, until: Until) -> None:
    rank, job = submit(WAITS), submit(WAITS)
    until(rank, "up")
    until(job, "up")
    for pid in remains_of(rank):
        if b"train.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    for pid in remains_of(job):
        if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"-m\0runyard.job\0"):
            os.kill(pid, signal.SIGKILL)
    assert yard.error(rank)["code"] == "signaled"
    error = yard.error(job)
    assert error["code"] == "job_lost" and "SIGKILL" in error["message"]
    assert "up" in job._read_log("azureml-logs/70_driver_log.txt")
    assert remains_of(rank) == remains_of(job) == []


def test_a_server_that_is_killed_finds_its_runs_in_slurm_again(yard: SlurmYard, submit: Submit, until: Until) -> None:
    running = submit("import os\nprint('up', flush=True)\nwhile not os.path.exists('../../go'): pass\nprint('done')\n")
    until(running, "up")
    waiting = submit("print('after all')", distributed_job_config=PyTorchConfiguration(node_count=3))
    yard.until(lambda: "Slurm's job" in yard.why(waiting), "Slurm's word of the second run")
    yard.kill_server()
    (attempt,) = Path(yard.folder, "runs", running.id).iterdir()
    (attempt / "go").touch()
    yard.server = yard.start_server()
    assert yard.end(running)["status"] == "Completed", yard.end(running)
    assert running._read_log("azureml-logs/70_driver_log.txt") == "up\ndone\n"
    assert yard.end(waiting)["status"] == "Completed", yard.end(waiting)
    assert yard.cluster.call("squeue", "-h", "-t", "all", "-o", "%j").split().count(f"{waiting.id}.1") == 1


def test_a_controller_that_is_away_costs_nothing(yard: SlurmYard, submit: Submit, until: Until) -> None:
    run = submit("import os\nprint('up', flush=True)\nwhile not os.path.exists('../../go'): pass\nprint('done')\n")
    until(run, "up")
    yard.cluster.stop_controller()
    late = submit("print('late')")
    yard.until(lambda: "does not answer" in yard.why(late), "the reason why the second run waits")
    (attempt,) = Path(yard.folder, "runs", run.id).iterdir()
    (attempt / "go").touch()
    yard.until(lambda: "done" in run._read_log("azureml-logs/70_driver_log.txt"), "the end of the script")
    yard.cluster.start_controller()
    assert yard.end(run)["status"] == "Completed", yard.end(run)
    assert yard.end(late)["status"] == "Completed", yard.end(late)


@pytest.mark.slow
def test_a_node_that_dies_is_the_cause_and_what_it_wrote_is_kept(yard: SlurmYard, submit: Submit, until: Until) -> None:
    run = submit("import os\nos.makedirs('outputs', exist_ok=True)\nopen('outputs/half', 'w').write('x')\n" + WAITS)
    until(run, "up")
    (node,) = [name for name, state in yard.cluster.node_states().items() if state != "idle"]
    yard.cluster.stop_node(node)
    error = yard.error(run)
    yard.cluster.start_node(node)
    assert error["code"] == "node_lost", error
    assert "lost a node, which failed (NODE_FAIL" in error["message"]
    assert "outputs/half" in run.get_file_names()
    assert "up" in run._read_log("azureml-logs/70_driver_log.txt")


def test_a_dry_run_shows_the_batch_script(yard: SlurmYard, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "train.py").write_text("print(1)")
    command = [sys.executable, "-m", "runyard", "--workspace", yard.workspace.name, "submit", "--dry-run"]
    command += ["--target", "cluster", "--interpreter", sys.executable, str(source / "train.py")]
    paths = os.pathsep.join(path for path in sys.path if path)
    said = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=True)
    assert "#SBATCH --partition=main" in said.stdout
    assert "srun --nodes=1" in said.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"partition": "nope"}, "Slurm has no partition 'nope'. It has: main, short"),
        ({"partition": "short", "time_limit": "0-1"}, "more than partition 'short' allows, 1 minutes"),
        ({"partition": "main", "max_nodes": 9}, "more than partition 'main' has for one run: 3"),
        ({"partition": "main", "gres": "gpu:2"}, "No node of partition 'main' has gpu:2"),
        ({"partition": "main", "vm_size": "STANDARD_NC6"}, "No node of partition 'main' has 6 CPUs"),
        ({"options": ["--array=1-3"]}, "cannot be among the options"),
    ],
)
def test_what_the_cluster_does_not_have_is_refused_with_what_it_has(
    yard: SlurmYard, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ComputeTargetException, match=re.escape(words)):
        ComputeTarget.create(yard.workspace, "other", SlurmCompute.provisioning_configuration(**options))


def remains_of(run: Run) -> list[int]:
    """Processes that carry the run's mark."""
    return [pid for pid in all_processes() if (marker_in(pid) or "").startswith(run.id + "/")]
