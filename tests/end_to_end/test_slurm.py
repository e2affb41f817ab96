"""Runs on a real Slurm: the same calls and the same history as on this machine, and a true end whatever is killed."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runyard import ComputeTarget, Environment, Experiment, ScriptRunConfig, SlurmCompute
from runyard.errors import ComputeTargetException
from runyard.following import wait
from runyard.run import Run
from runyard.runconfig import PyTorchConfiguration, TensorflowConfiguration
from runyard_server.testing.slurm_yard import SlurmYard
from tests.end_to_end.meeting import MEETING
from tests.end_to_end.waiting import WAITS, WAITS_FOR_GO

pytestmark = pytest.mark.slurm

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


@pytest.fixture
def submit(slurm_yard: SlurmYard, this_python: Environment, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Submits a script given as text to the cluster; what is left of its runs at the end is cancelled."""
    with slurm_yard.submitting(tmp_path, this_python) as submit:
        yield submit
    slurm_yard.cluster.clear()


Submit = Callable[..., Run]
Until = Callable[[Run, str], None]


def test_a_script_runs_on_a_node_with_the_same_history_as_on_this_machine(
    slurm_yard: SlurmYard, submit: Submit
) -> None:
    run = submit(SAYS_MUCH, arguments=["a b", "'c'"])
    ended = slurm_yard.end(run)
    assert ended["status"] == "Completed", ended
    assert "trained on n1 with a b" in run._read_log("azureml-logs/70_driver_log.txt")
    assert run.get_metrics()["loss"] == [1.0, 0.5, 1 / 3]
    assert "outputs/model.txt" in run.get_file_names()
    assert run.verify()["ok"]
    story = [event["to_status"] for event in slurm_yard.workspace.transport.call("GET", f"/runs/{run.id}/events")]
    assert story == ["Starting", "Preparing", "Queued", "Running", "Finalizing", "Completed"]


def test_a_script_that_fails_is_told_with_its_exit_code_and_traceback(slurm_yard: SlurmYard, submit: Submit) -> None:
    exits, raises = submit("raise SystemExit(3)"), submit("raise ValueError('no data')")
    error = slurm_yard.error(exits)
    assert (error["code"], error["exit_code"]) == ("script_failed", 3)
    assert "ValueError: no data" in slurm_yard.error(raises)["traceback"]


ENVIRONMENT = """
import json, os, socket
names = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "TF_CONFIG")
print(json.dumps({name: os.environ[name] for name in names if name in os.environ}), os.environ["SLURMD_NODENAME"])
"""
MEETS = f"""{MEETING}
node = os.environ["SLURMD_NODENAME"]
print(node, "heard", heard("hello from " + node))
os.makedirs("outputs", exist_ok=True)
open("outputs/rank-%d.txt" % rank, "w").write(str(rank))
"""


def test_the_ranks_of_two_nodes_find_each_other(slurm_yard: SlurmYard, submit: Submit) -> None:
    torch = submit(MEETS, distributed_job_config=PyTorchConfiguration(node_count=2))
    assert slurm_yard.end(torch)["status"] == "Completed", slurm_yard.end(torch)
    assert "n2 heard hello from n1" in torch._read_log("azureml-logs/70_driver_log_1.txt")
    assert {"outputs/rank-0.txt", "outputs/rank-1.txt"} <= set(torch.get_file_names())


def test_tf_config_names_three_nodes_to_each_of_them(slurm_yard: SlurmYard, submit: Submit) -> None:
    run = submit(ENVIRONMENT, distributed_job_config=TensorflowConfiguration(worker_count=3, parameter_server_count=1))
    assert slurm_yard.end(run)["status"] == "Completed", slurm_yard.end(run)
    for number in range(3):
        said, _, node = run._read_log(f"azureml-logs/70_driver_log_worker_{number}.txt").rpartition(" ")
        config = json.loads(json.loads(said)["TF_CONFIG"])
        hosts = {task: [address.split(":")[0] for address in found] for task, found in config["cluster"].items()}
        assert hosts == {"worker": ["n1", "n2", "n3"], "ps": ["n1"]}
        assert config["task"] == {"type": "worker", "index": number}
        assert node.strip() == f"n{number + 1}"


def test_a_failed_rank_ends_those_on_other_nodes_and_is_the_cause(slurm_yard: SlurmYard, submit: Submit) -> None:
    fails = "import os, signal\nif os.environ['RANK'] == '1':\n    raise SystemExit(4)\nsignal.pause()\n"
    run = submit(fails, distributed_job_config=PyTorchConfiguration(node_count=2))
    assert slurm_yard.error(run)["exit_code"] == 4
    slurm_yard.until_gone(run)


def test_a_run_waits_in_slurms_queue_with_slurms_reason_and_can_be_taken_out(
    slurm_yard: SlurmYard, submit: Submit, until: Until
) -> None:
    first = submit(WAITS, distributed_job_config=PyTorchConfiguration(node_count=3))
    slurm_yard.until(lambda: first.get_status() == "Running", "the first run")
    second = submit(WAITS, distributed_job_config=PyTorchConfiguration(node_count=3, process_count=6))
    slurm_yard.until(lambda: "(Resources)" in slurm_yard.why(second), "Slurm's reason")
    assert second.get_status() == "Queued"
    assert "waits for nodes to become free" in slurm_yard.why(second)
    said: list[str] = []
    follower = threading.Thread(target=wait, args=(second, True, said.append))
    follower.start()
    slurm_yard.until(lambda: any(line.startswith("Queued since ") for line in said), "the reason in the followed log")
    second.cancel()
    assert slurm_yard.end(second)["status"] == "Canceled"
    follower.join()
    queued_at = next(event["at"] for event in second._call("GET", "events") if event["to_status"] == "Queued")
    since = time.strftime("Queued since %H:%M:%S: ", time.localtime(queued_at))
    assert any(line.startswith(since) and "waits for nodes to become free (Resources)" in line for line in said), said
    counts = slurm_yard.compute.get_status().serialize()["nodeStateCounts"]
    assert counts["runningNodeCount"] == 3
    first.cancel()
    assert slurm_yard.end(first)["status"] == "Canceled"
    slurm_yard.until_gone(first)
    slurm_yard.until(lambda: slurm_yard.cluster.call("squeue", "-h", "-t", "PENDING,RUNNING") == "", "an empty queue")


def test_a_job_that_somebody_cancels_in_slurm_fails_and_says_so(
    slurm_yard: SlurmYard, submit: Submit, until: Until
) -> None:
    run = submit(WAITS)
    until(run, "up")
    slurm_yard.cluster.call("scancel", "--user=root")
    error = slurm_yard.error(run)
    assert (error["code"], error["signal"]) == ("signaled", "SIGTERM")


def test_a_killed_rank_and_a_killed_job_are_told_as_such(slurm_yard: SlurmYard, submit: Submit, until: Until) -> None:
    rank, job = submit(WAITS), submit(WAITS)
    until(rank, "up")
    until(job, "up")
    slurm_yard.kill(rank, lambda command: "train.py" in "".join(command))
    slurm_yard.kill(job, lambda command: command[-2:] == ["-m", "runyard.job"])
    assert slurm_yard.error(rank)["code"] == "signaled"
    error = slurm_yard.error(job)
    assert error["code"] == "job_lost" and "SIGKILL" in error["message"]
    assert "up" in job._read_log("azureml-logs/70_driver_log.txt")
    slurm_yard.until_gone(rank, job)


def test_a_server_that_is_killed_finds_its_runs_in_slurm_again(
    slurm_yard: SlurmYard, submit: Submit, until: Until
) -> None:
    running = submit(WAITS_FOR_GO)
    until(running, "up")
    waiting = submit("print('after all')", distributed_job_config=PyTorchConfiguration(node_count=3))
    slurm_yard.until(lambda: "Slurm's job" in slurm_yard.why(waiting), "Slurm's word of the second run")
    slurm_yard.kill_server()
    (attempt,) = Path(slurm_yard.folder, "runs", running.id).iterdir()
    (attempt / "go").touch()
    slurm_yard.server = slurm_yard.start_server()
    assert slurm_yard.end(running)["status"] == "Completed", slurm_yard.end(running)
    assert running._read_log("azureml-logs/70_driver_log.txt") == "up\ndone\n"
    assert slurm_yard.end(waiting)["status"] == "Completed", slurm_yard.end(waiting)
    assert slurm_yard.cluster.call("squeue", "-h", "-t", "all", "-o", "%j").split().count(f"{waiting.id}.1") == 1


def test_a_controller_that_is_away_costs_nothing(slurm_yard: SlurmYard, submit: Submit, until: Until) -> None:
    run = submit(WAITS_FOR_GO)
    until(run, "up")
    slurm_yard.cluster.stop_controller()
    late = submit("print('late')")
    slurm_yard.until(lambda: "does not answer" in slurm_yard.why(late), "the reason why the second run waits")
    (attempt,) = Path(slurm_yard.folder, "runs", run.id).iterdir()
    (attempt / "go").touch()
    slurm_yard.until(lambda: "done" in slurm_yard.log(run, "azureml-logs/70_driver_log.txt"), "the end of the script")
    slurm_yard.cluster.start_controller()
    assert slurm_yard.end(run)["status"] == "Completed", slurm_yard.end(run)
    assert slurm_yard.end(late)["status"] == "Completed", slurm_yard.end(late)


HALF = """
import os, signal
resume = os.environ.get("RUNYARD_RESUME_DIR")
print("from", open(os.path.join(resume, "half")).read() if resume else "the start", flush=True)
if not resume:
    os.makedirs("outputs", exist_ok=True)
    open("outputs/half", "w").write("half way")
    print("up", flush=True)
    signal.pause()
"""


@pytest.mark.slow
def test_a_run_goes_on_elsewhere_from_what_it_wrote_on_a_node_that_died(
    slurm_yard: SlurmYard, submit: Submit, until: Until
) -> None:
    run = submit(HALF, max_attempts=2)
    until(run, "up")
    node = slurm_yard.cluster.call("squeue", "--noheader", "--states=RUNNING", "--format=%N").strip()
    slurm_yard.cluster.lose_node(node)
    slurm_yard.until(lambda: run._refresh()["attempt"] == 2, "a second attempt")
    ended = slurm_yard.end(run)
    slurm_yard.cluster.start_node(node)
    assert ended["status"] == "Completed", ended
    (attempt,) = run._refresh()["attempts"]
    assert attempt["reason"] == "node_lost" and "lost a node, which failed (NODE_FAIL" in attempt["message"]
    assert attempt["saved_at"] is not None and attempt["lost_work_s"] > 0
    assert "outputs/half" in run.get_file_names()
    assert "up" in run._read_log("azureml-logs/70_driver_log.txt")
    assert run._read_log("azureml-logs/attempt-2/70_driver_log.txt") == "from half way\n"


def test_a_run_for_gpus_that_no_node_has_goes_without_them_and_warns(
    slurm_yard: SlurmYard, submit: Submit, this_python: Environment, tmp_path: Path
) -> None:
    (tmp_path / "train.py").write_text("print('trained')")
    config = ScriptRunConfig(str(tmp_path), "train.py", compute_target="cluster", environment=this_python)
    config.run_config.gpus_per_node = 2
    run = Experiment(slurm_yard.workspace, "tests").submit(config)
    assert slurm_yard.end(run)["status"] == "Completed", slurm_yard.end(run)
    (warning,) = run.get_details()["warnings"]
    assert warning["message"] == (
        "The run asks for 2 GPUs on each node, no node of 'cluster' has one: it runs without GPU."
    )


def test_a_dry_run_shows_the_batch_script(slurm_yard: SlurmYard, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "train.py").write_text("print(1)")
    command = [sys.executable, "-m", "runyard", "--workspace", slurm_yard.workspace.name, "submit", "--dry-run"]
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
    slurm_yard: SlurmYard, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ComputeTargetException, match=re.escape(words)):
        ComputeTarget.create(slurm_yard.workspace, "other", SlurmCompute.provisioning_configuration(**options))
