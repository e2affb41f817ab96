"""Runs on a real Ray: the same calls and the same history as on this machine, and a true end whatever is killed."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runyard import ComputeTarget, Environment, RayCompute
from runyard.errors import ComputeTargetException
from runyard.run import Run
from runyard.runconfig import PyTorchConfiguration, TensorflowConfiguration
from runyard_server.testing.ray_yard import RayYard
from tests.end_to_end.meeting import MEETING
from tests.end_to_end.ray_notices import SAVES, assert_told_and_kept
from tests.end_to_end.waiting import WAITS, WAITS_FOR_GO

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SAYS_MUCH = """
import os, sys
from runyard import Run
run = Run.get_context()
run.log("loss", 0.5)
os.makedirs("outputs", exist_ok=True)
open("outputs/model.txt", "w").write("weights")
print("trained with", sys.argv[1], [name for name in os.environ if name.startswith("RAY_")])
"""
MEETS = f"""{MEETING}
print("heard", heard("hello from " + os.environ["MASTER_ADDR"]))
os.makedirs("outputs", exist_ok=True)
open("outputs/rank-%d.txt" % rank, "w").write(os.environ.get("TF_CONFIG", ""))
"""
Submit = Callable[..., Run]
Until = Callable[[Run, str], None]


@pytest.fixture
def submit(ray_yard: RayYard, this_python: Environment, tmp_path: Path) -> Iterator[Submit]:
    """Submits a script given as text to the cluster; what is left of its runs at the end is cancelled."""
    with ray_yard.submitting(tmp_path, this_python) as submit:
        yield submit


def test_runs_have_the_same_history_as_on_this_machine_and_never_see_the_clusters_token(
    ray_yard: RayYard, submit: Submit
) -> None:
    run, exits = submit(SAYS_MUCH, arguments=["a b"]), submit("raise SystemExit(3)")
    ended = ray_yard.end(run)
    assert ended["status"] == "Completed", ended
    assert "trained with a b []" in run._read_log("azureml-logs/70_driver_log.txt")
    assert run.get_metrics()["loss"] == 0.5
    assert "outputs/model.txt" in run.get_file_names()
    story = [event["to_status"] for event in ray_yard.workspace.transport.call("GET", f"/runs/{run.id}/events")]
    assert story == ["Starting", "Preparing", "Queued", "Running", "Finalizing", "Completed"]
    error = ray_yard.error(exits)
    assert (error["code"], error["exit_code"]) == ("script_failed", 3)


def test_the_clusters_token_is_in_one_file_and_is_never_shown(ray_yard: RayYard) -> None:
    token = ray_yard.cluster.token.encode()
    holders = [path for path in Path(ray_yard.folder).rglob("*") if path.is_file() and token in path.read_bytes()]
    assert [path.name for path in holders] == ["ray-tokens.json"]
    assert holders[0].stat().st_mode & 0o777 == 0o600
    target = ComputeTarget(ray_yard.workspace, "cluster")
    assert isinstance(target, RayCompute) and target.is_attached
    assert ray_yard.cluster.token not in json.dumps(target.serialize()) + repr(target.ray)
    counts = target.get_status().serialize()["nodeStateCounts"]
    assert counts["idleNodeCount"] + counts["runningNodeCount"] == 2


def test_the_ranks_of_two_nodes_find_each_other(ray_yard: RayYard, submit: Submit) -> None:
    run = submit(MEETS, distributed_job_config=PyTorchConfiguration(node_count=2))
    assert ray_yard.end(run)["status"] == "Completed", ray_yard.end(run)
    assert "heard hello from 10.9.0." in run._read_log("azureml-logs/70_driver_log_1.txt")
    assert {"outputs/rank-0.txt", "outputs/rank-1.txt"} <= set(run.get_file_names())


def attach(ray_yard: RayYard, name: str, **asked: Any) -> str:
    """Attaches the cluster once more, as it is now, and with other sizes."""
    cluster = ray_yard.cluster
    configuration = RayCompute.attach_configuration(cluster.url, cluster.token, **asked)
    ComputeTarget.attach(ray_yard.workspace, name, configuration)
    return name


def test_tf_config_names_three_nodes_to_each_of_them(ray_yard: RayYard, submit: Submit) -> None:
    text = "import os\nprint(os.environ['TF_CONFIG'])"
    gang = TensorflowConfiguration(worker_count=3, parameter_server_count=1)
    with ray_yard.cluster.one_more_node():
        three = attach(ray_yard, "three", cpus_per_node=2)
        run = submit(text, compute_target=three, distributed_job_config=gang)
        assert ray_yard.end(run)["status"] == "Completed", ray_yard.end(run)
        there = set(ray_yard.cluster.addresses.values())
    told = [json.loads(run._read_log(f"azureml-logs/70_driver_log_worker_{number}.txt")) for number in range(3)]
    assert [each["task"] for each in told] == [{"type": "worker", "index": number} for number in range(3)]
    assert all(each["cluster"] == told[0]["cluster"] for each in told)
    assert len(there) == 3 and {at.split(":")[0] for at in told[0]["cluster"]["worker"]} == there


SHOWS_GPUS = "import os, signal\nprint('gpus', os.environ['CUDA_VISIBLE_DEVICES'], flush=True)\nsignal.pause()\n"


def test_runs_that_share_a_node_see_different_gpus_and_a_gang_those_of_each_node(
    ray_yard: RayYard, submit: Submit
) -> None:
    def shown(run: Run, name: str = "azureml-logs/70_driver_log.txt") -> str:
        ray_yard.until(lambda: "\n" in ray_yard.log(run, name), f"a line of {run.id}")  # its words may come one by one
        return ray_yard.log(run, name).strip()

    with ray_yard.cluster.one_more_node(gpus=2):
        target = attach(ray_yard, "gpus", cpus_per_node=1, gpus_per_node=2)
        runs = [submit(SHOWS_GPUS, compute_target=target, gpus_per_node=1) for _ in range(2)]
        assert {shown(run) for run in runs} == {"gpus 0", "gpus 1"}
        for run in runs:
            run.cancel()
        with ray_yard.cluster.one_more_node(gpus=2):
            attach(ray_yard, target, cpus_per_node=1, gpus_per_node=2)
            gang = PyTorchConfiguration(node_count=2)
            both = submit(SHOWS_GPUS, compute_target=target, gpus_per_node=2, distributed_job_config=gang)
            told = [shown(both, f"azureml-logs/70_driver_log_{rank}.txt") for rank in range(2)]
            assert [set(text.removeprefix("gpus ").split(",")) for text in told] == [{"0", "1"}] * 2
            both.cancel()
            assert ray_yard.end(both)["status"] == "Canceled"


def test_a_failed_rank_ends_those_on_other_nodes_and_is_the_cause(ray_yard: RayYard, submit: Submit) -> None:
    fails = "import os, signal\nif os.environ['RANK'] == '1':\n    raise SystemExit(4)\nsignal.pause()\n"
    run = submit(fails, distributed_job_config=PyTorchConfiguration(node_count=2))
    assert ray_yard.error(run)["exit_code"] == 4
    ray_yard.until_gone(run)


def test_a_run_waits_in_ray_with_its_reason_and_can_be_taken_out(ray_yard: RayYard, submit: Submit) -> None:
    first = submit(WAITS, distributed_job_config=PyTorchConfiguration(node_count=2))
    ray_yard.until(lambda: first.get_status() == "Running", "the first run")
    gang = submit(WAITS, distributed_job_config=PyTorchConfiguration(node_count=2))
    alone = submit(WAITS)
    ray_yard.until(lambda: "waits for 2 nodes with 2 CPUs to become free" in ray_yard.why(gang), "Ray's reason")
    ray_yard.until(lambda: "waits for a node with 2 CPUs to have room" in ray_yard.why(alone), "Ray's reason")
    assert (gang.get_status(), alone.get_status()) == ("Queued", "Queued")
    ray_yard.until(lambda: "2 in use" in ray_yard.shown("cluster"), "the nodes in use")  # Ray counts every few seconds
    shown = ray_yard.shown("cluster")
    assert ray_yard.cluster.url in shown and ray_yard.cluster.token not in shown, shown
    rows = {line.split()[0]: line for line in shown.splitlines() if "waits for" in line}
    assert set(rows) == {gang.id, alone.id} and "2 nodes with 2 CPUs to become free" in rows[gang.id], shown
    gang.cancel()
    alone.cancel()
    assert [ray_yard.end(run)["status"] for run in (gang, alone)] == ["Canceled", "Canceled"]
    assert ray_yard.compute.get_status().serialize()["nodeStateCounts"]["runningNodeCount"] == 2
    first.cancel()
    assert ray_yard.end(first)["status"] == "Canceled"
    ray_yard.until_gone(first)


def test_a_killed_rank_and_a_killed_job_are_told_as_such(ray_yard: RayYard, submit: Submit, until: Until) -> None:
    rank, job = submit(WAITS), submit(WAITS)
    until(rank, "up")
    until(job, "up")
    ray_yard.kill(rank, lambda command: "train.py" in "".join(command))
    ray_yard.kill(job, lambda command: command[-2:] == ["-m", "runyard.job"])
    assert ray_yard.error(rank)["code"] == "signaled"
    error = ray_yard.error(job)
    assert error["code"] == "job_lost" and "SIGKILL" in error["message"]
    assert "up" in job._read_log("azureml-logs/70_driver_log.txt")
    ray_yard.until_gone(rank, job)


def test_a_server_that_is_killed_finds_its_runs_in_ray_again(ray_yard: RayYard, submit: Submit, until: Until) -> None:
    running = submit(WAITS_FOR_GO)
    until(running, "up")
    waiting = submit("print('after all')", distributed_job_config=PyTorchConfiguration(node_count=2))
    ray_yard.until(lambda: "Ray's job" in ray_yard.why(waiting), "Ray's word of the second run")
    ray_yard.kill_server()
    (attempt,) = Path(ray_yard.folder, "runs", running.id).iterdir()
    (attempt / "go").touch()
    ray_yard.server = ray_yard.start_server()
    assert ray_yard.end(running)["status"] == "Completed", ray_yard.end(running)
    assert running._read_log("azureml-logs/70_driver_log.txt") == "up\ndone\n"
    assert ray_yard.end(waiting)["status"] == "Completed", ray_yard.end(waiting)
    jobs = [job["submission_id"] for job in ray_yard.cluster.ask("/api/jobs/")]
    assert len([name for name in jobs if name and name.startswith(f"{waiting.id}.1.")]) == 1


def test_a_node_that_dies_is_the_cause_and_what_it_wrote_is_kept(
    ray_yard: RayYard, submit: Submit, until: Until
) -> None:
    text = "import os\nos.makedirs('outputs', exist_ok=True)\nopen('outputs/half', 'w').write('x')\n" + WAITS
    run = submit(text, distributed_job_config=PyTorchConfiguration(node_count=2))
    until(run, "up")
    with ray_yard.cluster.without_node("n2"):
        error = ray_yard.error(run)
        assert error["code"] == "node_lost", error
        assert "outputs/half" in run.get_file_names()
        ray_yard.until_gone(run)


def test_the_ranks_of_a_gang_are_told_before_one_of_their_nodes_is_taken_away_and_what_they_save_is_kept(
    ray_yard: RayYard, submit: Submit, until: Until
) -> None:
    run = submit(SAVES, distributed_job_config=PyTorchConfiguration(node_count=2))
    logs = [f"azureml-logs/70_driver_log_{rank}.txt" for rank in (0, 1)]
    ray_yard.until(lambda: all("up" in ray_yard.log(run, name) for name in logs), "both ranks")
    assert_told_and_kept(ray_yard, run, "n2", "outputs/saved-0", "outputs/saved-1")


def test_a_script_on_one_node_is_told_before_it_is_taken_away_and_what_it_saves_is_kept(
    ray_yard: RayYard, submit: Submit, until: Until
) -> None:
    run = submit(SAVES)
    until(run, "up")
    assert_told_and_kept(ray_yard, run, ray_yard.cluster.node_of(ray_yard.job_of(run)), "outputs/saved-alone")


def test_a_dry_run_shows_what_ray_would_get(ray_yard: RayYard, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "train.py").write_text("print(1)")
    command = [sys.executable, "-m", "runyard", "--workspace", ray_yard.workspace.name, "submit", "--dry-run"]
    command += ["--target", "cluster", "--interpreter", sys.executable, str(source / "train.py")]
    paths = os.pathsep.join(path for path in sys.path if path)
    said = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=True)
    assert '"entrypoint_num_cpus": 2' in said.stdout
    assert ray_yard.cluster.token not in said.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"vm_size": "STANDARD_NC6"}, "No node of this Ray cluster has 6 CPUs and 1 GPU. Its nodes have: "),
        ({"max_nodes": 9}, "max_nodes=9 is more than this cluster has nodes with 1 CPU: 2, and no autoscaler adds any"),
        ({"resources": {"n1": 1}, "max_nodes": 2}, "nodes with 1 CPU and 1 n1: 1"),
        ({"token": "f" * 32}, "does not take this token"),
        ({"address": "http://10.9.0.50:1"}, "does not answer"),
        ({"address": "ftp://head"}, "address is that of the Ray cluster's dashboard"),
    ],
)
def test_what_the_cluster_does_not_have_is_refused_with_what_it_has(
    ray_yard: RayYard, options: dict[str, Any], words: str
) -> None:
    asked = {"address": ray_yard.cluster.url, "token": ray_yard.cluster.token, **options}
    with pytest.raises(ComputeTargetException, match=re.escape(words)):
        ComputeTarget.attach(ray_yard.workspace, "other", RayCompute.attach_configuration(**asked))
