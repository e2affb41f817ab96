"""Runs of several processes, which find each other: parameter servers, and MPI under a real MPICH.

Only real processes show that the ranks meet, that one rank's failure ends all others and is told with its own cause,
and that nothing of a process manager stays behind.
"""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from runyard import AmlCompute, ComputeTarget, Environment, Run, ScriptRunConfig, Workspace
from runyard.runconfig import MpiConfiguration, PyTorchConfiguration, TensorflowConfiguration
from runyard_server.testing.left_behind import until_gone

Submit = Callable[..., Run]
Until = Callable[[Run, str], None]

TASK = """
import json, os, socket, sys, time
config = json.loads(os.environ["TF_CONFIG"])
task, cluster = config["task"], config["cluster"]
host, port = cluster[task["type"]][task["index"]].split(":")
if task["type"] == "ps":
    server = socket.create_server((host, int(port)))
    while True:
        server.accept()[0].sendall(b"served")
for address in cluster.get("ps", []):
    while True:
        try:
            with socket.create_connection(address.split(":")) as connection:
                print(task["type"], task["index"], connection.recv(6).decode(), flush=True)
            break
        except OSError:
            time.sleep(0.01)
open("outputs/%s-%d.txt" % (task["type"], task["index"]), "w").write("done")
"""

SUM = """
import json, os, sys
from mpi4py import MPI
from runyard import Run
world = MPI.COMM_WORLD
total = world.allreduce(world.rank + 1)
names = ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE")
print(json.dumps([total] + [os.environ["OMPI_COMM_WORLD_" + name] for name in names]), flush=True)
Run.get_context().log("total", total)
"""


@pytest.fixture(scope="module")
def nodes(workspace: Workspace) -> str:
    """A compute target of three nodes."""
    config = AmlCompute.provisioning_configuration("STANDARD_D2_V2", max_nodes=3)
    return str(ComputeTarget.create(workspace, "three-nodes", config).name)


@pytest.fixture(scope="module")
def with_mpi() -> Iterator[Environment]:
    """What a script imports; MPI's own programs come with the run's being one of MPI."""
    environment = Environment("with-mpi")
    environment.python.conda_dependencies.add_pip_package("mpi4py==4.1.2")
    yield environment


def logs_of(run: Run) -> dict[str, str]:
    """What each rank has printed, by label."""
    beginning = "azureml-logs/70_driver_log_"
    return {
        name[len(beginning) : -len(".txt")]: run._read_log(name)
        for name in run.get_file_names()
        if name.startswith(beginning)
    }


def until_known(run: Run, ranks: range, state: str) -> None:
    """Waits until the server knows that these ranks have come to a state, and the run goes on."""
    while [rank["state"] for rank in run.get_details()["ranks"] if rank["rank"] in ranks] != [state] * len(ranks):
        assert run.get_status() in ("Starting", "Preparing", "Queued", "Running")


def cause_of(run: Run) -> dict[str, object]:
    (cause,) = run.get_details()["error"]["error"]["details"]
    return dict(cause)


def assert_ended_soon(run: Run, rank: int) -> None:
    """The gang has ended soon after the rank that failed; by themselves the others would have stayed for minutes."""
    failed = run._call("GET", "ranks")[rank]
    assert run._refresh()["ended_at"] - failed["ended_at"] < 60


@pytest.mark.parametrize(("workers", "servers"), [(2, 1), (3, 2)])
def test_workers_find_their_parameter_servers_which_end_when_the_workers_have(
    submit: Submit, nodes: str, workers: int, servers: int
) -> None:
    run = submit(TASK, compute_target=nodes, distributed_job_config=TensorflowConfiguration(workers, servers))
    details = run.wait_for_completion()
    assert details["status"] == "Completed"
    said = logs_of(run)
    assert {label: text for label, text in said.items() if label.startswith("worker")} == {
        f"worker_{number}": f"worker {number} served\n" * servers for number in range(workers)
    }
    assert {f"outputs/worker-{number}.txt" for number in range(workers)} <= set(run.get_file_names())
    until_gone(run.id)


@pytest.mark.parametrize("node_count", [1, 3])
def test_a_chiefs_end_is_the_runs_and_its_workers_and_servers_are_ended(
    submit: Submit, nodes: str, node_count: int
) -> None:
    served = TASK.replace('task["type"] == "ps"', 'task["type"] != "chief"').replace(
        'cluster.get("ps", [])', 'cluster["worker"] + cluster["ps"]'
    )
    configuration = TensorflowConfiguration(worker_count=2, parameter_server_count=1, chief=True)
    config = ScriptRunConfig(".", compute_target=nodes, distributed_job_config=configuration).run_config
    config.node_count = node_count
    run = submit(served, run_config=config)
    details = run.wait_for_completion()
    assert details["status"] == "Completed"
    assert logs_of(run) == {"chief_0": "chief 0 served\n" * 3}
    until_gone(run.id)


def test_a_failed_worker_ends_the_others_and_the_servers(submit: Submit, nodes: str) -> None:
    failing = TASK + "\nif task['index'] == 1:\n    raise ValueError('no luck')\ntime.sleep(600)\n"
    run = submit(failing, compute_target=nodes, distributed_job_config=TensorflowConfiguration(3, 1))
    run.wait_for_completion(raise_on_error=False)
    cause = cause_of(run)
    assert (cause["code"], cause["rank"], cause["exit_code"]) == ("script_failed", 1, 1)
    assert "ValueError: no luck" in str(cause["message"])
    assert str(cause["traceback"]).startswith("Traceback (most recent call last):")
    assert str(cause["traceback"]).endswith("ValueError: no luck")
    assert_ended_soon(run, 1)
    until_gone(run.id)


@pytest.mark.parametrize("node_count", [1, 2])
def test_cancelled_workers_and_parameter_servers_leave_no_process_and_no_port(
    submit: Submit, nodes: str, until: Until, node_count: int
) -> None:
    waiting = "server = socket.create_server((host, int(port)))\nprint(json.dumps(cluster), flush=True)\n"
    configuration = TensorflowConfiguration(worker_count=2, parameter_server_count=1)
    config = ScriptRunConfig(".", compute_target=nodes, distributed_job_config=configuration).run_config
    config.node_count = node_count
    run = submit(TASK + waiting + "import signal\nsignal.pause()\n", run_config=config)
    until(run, '{"')
    run.cancel()
    run.wait_for_completion(raise_on_error=False)
    assert run.get_status() == "Canceled"
    until_gone(run.id)
    said = next(line for text in logs_of(run).values() for line in text.splitlines() if line.startswith("{"))
    addresses = [address for of_kind in json.loads(said).values() for address in of_kind]
    assert len(addresses) == 3
    for address in addresses:
        host, port = address.split(":")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)))


@pytest.mark.network
@pytest.mark.parametrize(("node_count", "per_node"), [(1, 2), (2, 2), (3, 1)])
def test_mpi_brings_the_ranks_of_all_nodes_together(
    submit: Submit, nodes: str, with_mpi: Environment, node_count: int, per_node: int
) -> None:
    run = submit(
        SUM,
        compute_target=nodes,
        environment=with_mpi,
        distributed_job_config=MpiConfiguration(per_node, node_count),
    )
    details = run.wait_for_completion()
    assert details["status"] == "Completed"
    size = node_count * per_node
    assert {label: json.loads(text) for label, text in logs_of(run).items()} == {
        str(rank): [size * (size + 1) // 2, str(rank), str(size), str(rank % per_node), str(per_node)]
        for rank in range(size)
    }
    assert run.get_metrics() == {"total": [size * (size + 1) // 2] * size}
    assert run.verify()["ok"]
    until_gone(run.id)


@pytest.mark.network
@pytest.mark.parametrize(("node_count", "per_node"), [(1, 2), (2, 1)])
@pytest.mark.parametrize(
    ("fault", "code", "exit_code", "signal"),
    [
        ("raise ValueError('no luck')", "script_failed", 1, None),
        ("os._exit(3)", "script_failed", 3, None),
        ("os.kill(os.getpid(), 9)", "signaled", None, "SIGKILL"),
        ("MPI.COMM_WORLD.Abort(7)", "script_failed", 7, None),
    ],
)
def test_one_ranks_failure_ends_an_mpi_run_and_is_its_cause(
    submit: Submit,
    nodes: str,
    with_mpi: Environment,
    node_count: int,
    per_node: int,
    fault: str,
    code: str,
    exit_code: int | None,
    signal: str | None,
) -> None:
    run = submit(
        SUM + f"if world.rank == 1:\n    {fault}\nworld.Barrier()\n",
        compute_target=nodes,
        environment=with_mpi,
        distributed_job_config=MpiConfiguration(per_node, node_count),
    )
    run.wait_for_completion(raise_on_error=False)
    cause = cause_of(run)
    assert (cause["code"], cause["rank"]) == (code, 1)
    assert (cause.get("exit_code"), cause.get("signal")) == (exit_code, signal)
    if fault.startswith("raise"):
        assert str(cause["traceback"]).rstrip().endswith("ValueError: no luck")
    assert_ended_soon(run, 1)
    until_gone(run.id)


@pytest.mark.network
def test_a_cancelled_mpi_run_leaves_no_process(submit: Submit, nodes: str, with_mpi: Environment, until: Until) -> None:
    run = submit(
        SUM + "import signal\nsignal.pause()\n",
        compute_target=nodes,
        environment=with_mpi,
        distributed_job_config=MpiConfiguration(1, 2),
    )
    until(run, "[3, ")
    run.cancel()
    run.wait_for_completion(raise_on_error=False)
    assert run.get_status() == "Canceled"
    until_gone(run.id)


@pytest.mark.network
def test_an_mpi_run_leaves_nothing_in_memory_though_its_ranks_were_killed(
    submit: Submit, nodes: str, with_mpi: Environment
) -> None:
    tells = (
        "print('memory', *{line.split()[-1] for line in open('/proc/self/maps') if '/mpich_' in line}, flush=True)\n"
    )
    run = submit(
        SUM + tells + "world.Barrier()\nif world.rank == 1:\n    os.kill(os.getpid(), 9)\nworld.Barrier()\n",
        compute_target=nodes,
        environment=with_mpi,
        distributed_job_config=MpiConfiguration(2, 1),
    )
    run.wait_for_completion(raise_on_error=False)
    for rank in range(2):
        lines = run._read_log(f"azureml-logs/70_driver_log_{rank}.txt").splitlines()
        (memory,) = [line.split()[1:] for line in lines if line.startswith("memory ")]
        assert memory and not any(Path(path).exists() for path in memory)


def test_an_mpi_run_without_mpich_says_what_to_add(submit: Submit, nodes: str) -> None:
    run = submit("print(1)", compute_target=nodes, distributed_job_config=MpiConfiguration(2, 1))
    run.wait_for_completion(raise_on_error=False)
    assert "add the pip package 'mpich'" in run.get_details()["error"]["error"]["message"]


CHECKPOINTS = """
import os, shutil, sys, time
rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
if rank == 0:
    shutil.rmtree("outputs")
    os.makedirs("outputs/checkpoints")
    open("outputs/checkpoints/made", "w").close()
while not os.path.exists("outputs/checkpoints/made"):
    time.sleep(0.01)
with open("outputs/checkpoints/part-%d" % rank, "w") as part:
    part.write("of rank %d" % rank)
with open("logs/of-rank-%d.txt" % rank, "w") as log:
    log.write("of rank %d" % rank)
names = ["part-%d" % other for other in range(size)]
while not set(names) <= set(os.listdir("outputs/checkpoints")):
    time.sleep(0.01)
if rank == size - 1:  # the first node has ended long before
    while os.path.exists(sys.argv[1]):
        time.sleep(0.01)
    open("outputs/late", "w").write("late")
"""


@pytest.mark.parametrize("node_count", [1, 2, 3])
def test_all_ranks_have_one_folder_of_outputs_which_is_stored_once_and_whole(
    submit: Submit, nodes: str, node_count: int, tmp_path: Path
) -> None:
    held = tmp_path / "held"
    held.touch()
    run = submit(
        CHECKPOINTS,
        arguments=[str(held)],
        compute_target=nodes,
        distributed_job_config=PyTorchConfiguration("Gloo", 2 * node_count, node_count),
    )
    if node_count > 1:
        until_known(run, range(2), "ended")
    held.unlink()
    assert run.wait_for_completion()["status"] == "Completed"
    ranks = range(2 * node_count)
    files = [name for name in run.get_file_names() if name.startswith(("outputs/", "logs/"))]
    assert files == [f"logs/of-rank-{rank}.txt" for rank in ranks] + [
        "outputs/checkpoints/made",
        *(f"outputs/checkpoints/part-{rank}" for rank in ranks),
        "outputs/late",
    ]
    assert [run._read_file(f"outputs/checkpoints/part-{rank}") for rank in ranks] == [
        f"of rank {rank}".encode() for rank in ranks
    ]
    assert run.verify()["ok"]
    until_gone(run.id)


HANGS = """
import os, signal, sys, threading
def waits_for_ever(what):
    print("here", os.environ["RUNYARD_RUN_RANK"], flush=True)
    what()
waits_for_ever(threading.Event().wait if os.environ["RUNYARD_RUN_RANK"] == "1" else signal.pause)
"""


def assert_the_stacks_are_told_and_kept(run: Run, ranks: range) -> None:
    stacks = run.get_stacks(120)
    assert list(stacks) == [str(rank) for rank in ranks]
    for rank in ranks:
        assert "waits_for_ever (train.py:5)" in stacks[str(rank)]
        assert ("wait (threading.py" in stacks[str(rank)]) == (rank == 1)
    (folder,) = {name.rpartition("/")[0] for name in run.get_file_names() if "/stacks/" in name}
    assert re.fullmatch(r"azureml-logs/stacks/[0-9-]+T[0-9-]+Z", folder)
    run.cancel()
    run.wait_for_completion()
    assert stacks["0"] in run._read_log(f"{folder}/rank-0.txt")
    assert run.verify()["ok"]


@pytest.mark.parametrize("node_count", [1, 2])
def test_a_run_that_hangs_shows_where_and_which_of_its_ranks_is_silent(
    submit: Submit, nodes: str, node_count: int, until: Until
) -> None:
    run = submit(HANGS, compute_target=nodes, distributed_job_config=PyTorchConfiguration("Gloo", 2, node_count))
    for rank in range(2):
        until(run, f"here {rank}")
    until_known(run, range(2), "running")  # what a rank prints may be there before its job's report of it
    ranks = run.get_details()["ranks"]
    assert [(rank["name"], rank["node"], rank["state"]) for rank in ranks] == [
        (str(rank), rank * (node_count - 1), "running") for rank in range(2)
    ]
    assert all(rank["startTimeUtc"] <= rank["lastOutputUtc"] for rank in ranks)
    assert_the_stacks_are_told_and_kept(run, range(2))


@pytest.mark.network
def test_the_stacks_of_an_mpi_run_on_two_nodes(submit: Submit, nodes: str, with_mpi: Environment, until: Until) -> None:
    run = submit(
        HANGS, compute_target=nodes, environment=with_mpi, distributed_job_config=MpiConfiguration(1, 2)
    )  # fmt: skip
    for rank in range(2):
        until(run, f"here {rank}")
    assert_the_stacks_are_told_and_kept(run, range(2))


TALKS = """
for number in range(300):
    print("line", end=" ", flush=True)
    print(number, flush=True)
print("end", end="")
"""


def test_what_the_ranks_print_is_followed_as_one_text_of_whole_lines(
    submit: Submit, nodes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = submit(TALKS, compute_target=nodes, distributed_job_config=PyTorchConfiguration("Gloo", 4, 2))
    run.wait_for_completion(show_output=True)
    shown = capsys.readouterr().out.splitlines()
    for rank in range(4):
        mine = [line for line in shown if line.startswith(f"[{rank}] ")]
        assert mine == [f"[{rank}] line {number}" for number in range(300)] + [f"[{rank}] end"]
    titles = [line for line in shown if line.startswith("Streaming ")]
    assert "Streaming azureml-logs/70_driver_log_*.txt" in titles
    assert all(title != last for title, last in pairwise(titles))  # one title each time another log has its say
    words = [sys.executable, "-m", "runyard", "run", "logs", run.id, "--rank", "2", "--tail", "2"]
    words += ["--workspace", run.experiment.workspace.name]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "line 299\nend"


MEETS = """
import json, os, signal, socket, sys, time
rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
master = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
if rank == 0:
    server = socket.create_server(master)
    met = [server.accept()[0] for _ in range(size - 1)]
    for other in met:
        other.sendall(b"all are here")
else:
    while True:
        try:
            other = socket.create_connection(master)
            break
        except OSError:
            time.sleep(0.01)
    assert other.recv(12) == b"all are here"
names = ["RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK", "GROUP_RANK"]
print(json.dumps([int(os.environ[name]) for name in names]), flush=True)
"""


@pytest.mark.parametrize(("node_count", "per_node"), [(1, 2), (2, 2), (3, 1)])
def test_the_ranks_of_pytorch_meet_where_they_are_told(
    submit: Submit, nodes: str, node_count: int, per_node: int
) -> None:
    torch = PyTorchConfiguration("Nccl", node_count * per_node, node_count)
    run = submit(MEETS, compute_target=nodes, distributed_job_config=torch)
    assert run.wait_for_completion()["status"] == "Completed"
    size = node_count * per_node
    assert {label: json.loads(text) for label, text in logs_of(run).items()} == {
        str(rank): [rank, size, rank % per_node, per_node, rank // per_node, rank // per_node] for rank in range(size)
    }
    until_gone(run.id)


def test_the_log_says_once_that_ranks_on_one_machine_get_one_thread_each(submit: Submit, nodes: str) -> None:
    torch = PyTorchConfiguration("Gloo", 4, 2)
    code = "import os; print(os.environ['OMP_NUM_THREADS'])"
    run = submit(code, compute_target=nodes, distributed_job_config=torch)
    assert run.wait_for_completion()["status"] == "Completed"
    assert set(logs_of(run).values()) == {"1\n"}
    logs = [run._read_log(name) for name in run.get_file_names() if name.startswith("azureml-logs/")]
    said = [line for text in logs for line in text.splitlines() if "OMP_NUM_THREADS" in line]
    assert len(said) == 1 and "each of the 4 ranks that share this machine" in said[0]


@pytest.mark.parametrize("node_count", [1, 2])
@pytest.mark.parametrize(
    ("fault", "code", "exit_code", "signal"),
    [
        ("raise ValueError('no luck')", "script_failed", 1, None),
        ("os._exit(3)", "script_failed", 3, None),
        ("os.kill(os.getpid(), 9)", "signaled", None, "SIGKILL"),
    ],
)
def test_one_rank_of_pytorchs_that_fails_ends_all_within_seconds_and_is_the_cause(
    submit: Submit, nodes: str, node_count: int, fault: str, code: str, exit_code: int | None, signal: str | None
) -> None:
    run = submit(
        MEETS + f"if rank == 1:\n    {fault}\nsignal.pause()\n",
        compute_target=nodes,
        distributed_job_config=PyTorchConfiguration("Gloo", 2 * node_count, node_count),
    )
    run.wait_for_completion(raise_on_error=False)
    cause = cause_of(run)
    assert (cause["code"], cause["rank"]) == (code, 1)
    assert (cause.get("exit_code"), cause.get("signal")) == (exit_code, signal)
    assert_ended_soon(run, 1)
    until_gone(run.id)


def test_a_cancelled_run_of_pytorchs_leaves_no_process(submit: Submit, nodes: str, until: Until) -> None:
    daemon = "if os.fork() == 0:\n    os.setsid()\n    signal.pause()\n"
    run = submit(
        MEETS + daemon + "print('all set', flush=True)\nsignal.pause()\n",
        compute_target=nodes,
        distributed_job_config=PyTorchConfiguration("Gloo", 4, 2),
    )
    until(run, "all set")
    run.cancel()
    run.wait_for_completion(raise_on_error=False)
    assert run.get_status() == "Canceled"
    until_gone(run.id)
