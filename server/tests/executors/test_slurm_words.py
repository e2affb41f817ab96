"""What Slurm prints, as values and words: by commands on ``PATH`` that print what a cluster would."""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runyard.errors import ComputeTargetException
from runyard.job.task import TASK_FILE, THIS_PYTHON
from runyard.protocol.compute import ComputeSpec, SlurmSpec
from runyard.protocol.jobs import NodeInvitation
from runyard.protocol.status import Reason
from runyard_server.domain.gres import gpus_of, job_gres, node_gpus
from runyard_server.executors.base import EngineAwayError, JobHandle, JobState, NodeCounts
from runyard_server.executors.slurm import SlurmExecutor
from runyard_server.executors.slurm.commands import Commands, minutes
from runyard_server.executors.slurm.script import check_options
from runyard_server.executors.slurm.states import JOB_STATES, NODE_STATES, job_meaning, node_state, waits_for
from runyard_server.testing import own_network
from runyard_server.testing.executor_contract import job_request

Prints = Callable[..., None]


@pytest.fixture
def prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prints:
    """``prints("squeue", text, code=0)``: makes the command print a text."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def prints(name: str, text: str, code: int = 0, said: str = "") -> None:
        (folder / f"{name}.text").write_text(text)
        (folder / f"{name}.said").write_text(said)
        script = folder / name
        script.write_text(f"#!/bin/sh\ncat {folder}/{name}.text; cat {folder}/{name}.said >&2; exit {code}\n")
        script.chmod(0o755)

    return prints


def line(
    number: int,
    state: str,
    status: int = 0,
    reason: str = "None",
    start: str = "N/A",
    name: str = "j",
    preempted: str = "N/A",
    nodes: str = "",
) -> str:
    """A job as ``squeue`` prints it for us."""
    return f"{number:>24}{state:>24}{status:>12}{reason:>120}{start:>24}{name:>400}{preempted:>24}{nodes:>400}\n"


def handle(home: Path, number: int, node: int = 0) -> JobHandle:
    directory = home / "attempt-1" / f"node-{node}"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / TASK_FILE).write_text('{"assignment": {"node_count": 1, "server_url": "http://here:1"}}')
    return JobHandle("slurm", "run", 1, node, str(directory), f"{number}/{node}/0")


@pytest.mark.parametrize(
    ("state", "status", "reason", "seen", "cause"),
    [
        ("TIMEOUT", 15, "TimeLimit", JobState.ENDED, Reason.TIME_LIMIT),
        ("DEADLINE", 15, "None", JobState.ENDED, Reason.TIME_LIMIT),
        ("PREEMPTED", 15, "None", JobState.ENDED, Reason.PREEMPTED),
        ("OUT_OF_MEMORY", 125 << 8, "OutOfMemory", JobState.ENDED, Reason.OUT_OF_MEMORY),
        ("NODE_FAIL", 1, "NodeDown", JobState.LOST, Reason.NODE_LOST),
        ("BOOT_FAIL", 0, "None", JobState.LOST, Reason.NODE_LOST),
    ],
)
def test_what_slurm_does_to_a_job_is_its_cause(
    tmp_path: Path, prints: Prints, state: str, status: int, reason: str, seen: JobState, cause: Reason
) -> None:
    prints("squeue", line(7, state, status, reason))
    job = handle(tmp_path, 7)
    (tmp_path / "attempt-1" / "slurm.job").write_text("7")
    found = SlurmExecutor().observe([job])[job]
    assert (found.state, found.cause, found.began) == (seen, cause, True)
    assert "Slurm's job 7" in found.message and state in found.message


@pytest.mark.parametrize(("state", "status"), [("COMPLETED", 0), ("FAILED", 1 << 8), ("CANCELLED", 15)])
def test_a_job_that_makes_room_in_time_was_preempted_however_it_ended(
    tmp_path: Path, prints: Prints, state: str, status: int
) -> None:
    prints("squeue", line(7, state, status, preempted="2026-01-02T03:04:05"))
    job = handle(tmp_path, 7)
    (tmp_path / "attempt-1" / "slurm.job").write_text("7")
    Path(job.directory, "exit.json").write_text('{"exit_code": 0, "signal": null, "salvage": 0}')
    found = SlurmExecutor().observe([job])[job]
    assert (found.state, found.cause, found.exit_code) == (JobState.ENDED, Reason.PREEMPTED, 0)
    assert "was preempted by a job of higher priority" in found.message


@pytest.mark.parametrize(
    "said",
    [
        "slurmstepd-n2: error: StepId=8.0 exceeded memory limit (486477824 > 262144000), being killed",
        "slurmstepd: error: Detected 1 oom_kill event in StepId=8.0. Some of the step tasks have been OOM Killed.",
    ],
)
def test_a_step_that_was_ended_for_its_memory_is_told_so(tmp_path: Path, prints: Prints, said: str) -> None:
    prints("squeue", line(7, "RUNNING"))
    job = handle(tmp_path, 7)
    (tmp_path / "attempt-1" / "slurm.job").write_text("7")
    (tmp_path / "attempt-1" / "slurm.log").write_text(said + "\nsrun: error: n2: task 0: Killed\n")
    Path(job.directory, "step.code").write_text("137")
    found = SlurmExecutor().observe([job])[job]
    assert (found.state, found.signal, found.cause) == (JobState.ENDED, "SIGKILL", Reason.OUT_OF_MEMORY)
    prints("squeue", line(7, "FAILED", 137 << 8, "NonZeroExitCode"))
    found = SlurmExecutor().observe([job])[job]
    assert (found.state, found.cause) == (JobState.ENDED, Reason.OUT_OF_MEMORY)
    assert "used more memory than it was given" in found.message


def test_the_end_of_a_job_waits_for_a_look_that_can_tell_its_cause(tmp_path: Path, prints: Prints) -> None:
    prints("squeue", line(7, "RUNNING"))
    executor = SlurmExecutor(look_every_s=0.0)
    job = handle(tmp_path, 7)
    (tmp_path / "attempt-1" / "slurm.job").write_text("7")
    assert executor.observe([job])[job].state is JobState.RUNNING
    Path(job.directory, "exit.json").write_text('{"exit_code": 1, "signal": null, "salvage": 0}')
    assert executor.observe([job])[job].state is JobState.RUNNING
    prints("squeue", line(7, "RUNNING", preempted="2026-01-02T03:04:05"))
    found = executor.observe([job])[job]
    assert (found.state, found.exit_code, found.cause) == (JobState.ENDED, 1, Reason.PREEMPTED)


def test_a_job_whose_nodes_are_being_started_says_how_many_are_here(tmp_path: Path, prints: Prints) -> None:
    prints("squeue", line(7, "CONFIGURING", nodes="c[1-3]"))
    prints("sinfo", "c1|allocated\nc2|allocated#\nc3|powering_up#\n")
    commands = Commands()
    executor = SlurmExecutor(commands)
    job = handle(tmp_path, 7)
    words = "Slurm's job 7 is scaling: its nodes are being started"
    own_network.until(lambda: executor.observe([job])[job].message == f"{words} (3 asked, 1 here)", "the nodes' states")
    for _ in range(20):
        found = executor.observe([job])[job]
    assert (found.state, found.message) == (JobState.PENDING, f"{words} (3 asked, 1 here)")
    assert commands.calls["sinfo"] == 1


def test_the_jobs_own_exit_code_stands_beside_slurms_cause(tmp_path: Path, prints: Prints) -> None:
    prints("squeue", line(7, "TIMEOUT", 15))
    job = handle(tmp_path, 7)
    Path(job.directory, "exit.json").write_text('{"exit_code": 1, "signal": null, "salvage": 0}')
    found = SlurmExecutor().observe([job])[job]
    assert (found.exit_code, found.cause) == (1, Reason.TIME_LIMIT)


def test_slurm_decides_that_a_job_goes_on_whatever_its_step_returned(tmp_path: Path, prints: Prints) -> None:
    prints("squeue", line(7, "COMPLETED"))
    job = handle(tmp_path, 7)
    (tmp_path / "attempt-1" / "slurm.job").write_text("7")
    Path(job.directory, "step.code").write_text("0")
    found = SlurmExecutor().observe([job])[job]
    assert found.state is JobState.LOST and "left no word" in found.message


def test_a_job_that_was_taken_out_of_the_queue_has_begun_nothing(tmp_path: Path, prints: Prints) -> None:
    prints("squeue", line(7, "CANCELLED"))
    job = handle(tmp_path, 7)
    found = SlurmExecutor().observe([job])[job]
    assert (found.state, found.signal, found.began) == (JobState.ENDED, "SIGKILL", False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scratch": "runs"}, "from its root on"),
        ({"scratch": "/scratch\nrm"}, "from its root on"),
        ({"uv": "/opt/uv"}, "name their scratch too"),
    ],
)
def test_a_disk_of_the_nodes_is_named_from_its_root_on(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ComputeTargetException, match=words):
        SlurmExecutor().check(ComputeSpec("cluster", executor="slurm", slurm=SlurmSpec(**changes)))


def test_what_a_node_shows_that_comes_for_its_job_is_on_its_input_alone(tmp_path: Path) -> None:
    invited = [NodeInvitation("http://here:1", "run", 1, node, f"ticket-{node}", "0" * 64, "/it's") for node in (0, 1)]
    target = ComputeSpec("cluster", slurm=SlurmSpec(python="py", scratch="/it's", setup=["module load x"]))
    request = replace(job_request(tmp_path, "pass", nodes=2), argv=None, target=target, invitations=invited)
    plan = SlurmExecutor().plan(request)
    for node in (0, 1):
        (line,) = [line for line in plan.script.splitlines() if f"ticket-{node}" in line]
        told = json.loads(line)
        assert (told["node"], told["scratch"], told["archive"]) == (node, "/it's", "0" * 64)
    assert "secret-token" not in plan.script and str(tmp_path) not in plan.script
    checked = subprocess.run(["sh", "-n"], input=plan.script, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert [node.argv[0] for node in plan.nodes] == [THIS_PYTHON] * 2


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (71, "does not see the server's folder"),
        (73, "older than 3.7"),
        (74, "does not reach this server at http://here:1"),
        (75, "refused the ticket of its node"),
    ],
)
def test_a_node_that_lacks_what_it_needs_says_what(tmp_path: Path, prints: Prints, code: int, words: str) -> None:
    prints("squeue", line(7, "FAILED", code << 8, "NonZeroExitCode"))
    job = handle(tmp_path, 7)
    found = SlurmExecutor().observe([job])[job]
    assert (found.state, found.exit_code) == (JobState.ENDED, code)
    assert words in found.message


def test_a_job_that_slurm_has_forgotten_is_known_by_its_last_word(tmp_path: Path, prints: Prints) -> None:
    prints("squeue", "")
    prints("sacct", "", code=1, said="Slurm accounting storage is disabled\n")
    job = handle(tmp_path, 7)
    Path(job.directory, "exit.json").write_text('{"exit_code": null, "signal": "SIGSEGV", "salvage": 0}')
    assert SlurmExecutor().observe([job])[job].signal == "SIGSEGV"


def test_a_thousand_queued_jobs_cost_one_look(tmp_path: Path, prints: Prints) -> None:
    prints("squeue", "".join(line(number, "PENDING", reason="Priority") for number in range(1000)))
    commands = Commands()
    executor = SlurmExecutor(commands, look_every_s=60)
    jobs = [JobHandle("slurm", f"run-{number}", 1, 0, str(tmp_path), f"{number}/0/0") for number in range(1000)]
    for _ in range(50):
        seen = executor.observe(jobs)
    assert {found.state for found in seen.values()} == {JobState.PENDING}
    assert "waits behind jobs of higher priority (Priority)" in seen[jobs[0]].message
    assert commands.calls == {"squeue": 1}


def test_a_slurm_that_does_not_answer_is_away_and_loses_no_job(tmp_path: Path, prints: Prints) -> None:
    prints("squeue", "", code=1, said="slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n")
    executor = SlurmExecutor(look_every_s=0.0)
    job = handle(tmp_path, 7)
    with pytest.raises(EngineAwayError, match="Slurm does not answer: Unable to contact slurm controller"):
        executor.observe([job])
    with pytest.raises(EngineAwayError):  # nothing is submitted to it meanwhile
        executor.start(executor.plan(job_request(tmp_path, "pass")))
    prints("squeue", line(7, "RUNNING"))
    assert executor.observe([job])[job].state is JobState.RUNNING


def test_what_slurm_refuses_is_a_failed_start_in_its_words(tmp_path: Path, prints: Prints) -> None:
    prints("sbatch", "", code=1, said="sbatch: error: Batch job submission failed: Invalid account\n")
    executor = SlurmExecutor()
    with pytest.raises(Exception, match="Slurm refused the job: Batch job submission failed: Invalid account") as why:
        executor.start(executor.plan(job_request(tmp_path, "pass")))
    assert why.value.code == "start_failed"  # type: ignore[attr-defined]


def test_a_server_that_died_while_it_submitted_finds_the_job_by_its_name(tmp_path: Path, prints: Prints) -> None:
    request = job_request(tmp_path, "pass")
    executor = SlurmExecutor()
    plan = executor.plan(request)
    prints("sbatch", "", code=1, said="killed\n")
    with pytest.raises(Exception, match="killed"):  # it has laid out everything, and its answer never came
        executor.start(plan)
    prints("sbatch", "99\n")
    prints("squeue", line(41, "PENDING", name=f"{request.run_id}.1"))
    assert [found.job_id for found in executor.start(plan)] == ["41/0/0"]
    assert [found.job_id for found in SlurmExecutor().start(plan)] == ["41/0/0"]


def test_a_state_that_a_newer_slurm_has_is_no_end() -> None:
    assert job_meaning("TELEPORTING").state is JobState.RUNNING
    assert job_meaning("CANCELLED by 0").state is JobState.ENDED


def test_every_state_that_ends_a_job_has_words_but_the_good_end() -> None:
    ends = {name for name, meaning in JOB_STATES.items() if meaning.state.is_over and not meaning.words}
    assert ends == {"COMPLETED"}


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Resources", "waits for nodes to become free (Resources)"),
        ("QOSMaxJobsPerUserLimit", "waits until a limit of its QoS allows it (QOSMaxJobsPerUserLimit)"),
        ("AssocGrpCpuLimit", "waits until a limit of its account allows it (AssocGrpCpuLimit)"),
        (
            "QOSMinCpuNotSatisfied",
            "asks for what its QoS or account gives no single job: cancel the run, and ask for less",
        ),
        (
            "AssocMaxCpuPerJobLimit",
            "asks for what its QoS or account gives no single job: cancel the run, and ask for less",
        ),
        ("ReqNodeNotAvail,_UnavailableNodes:n[1-3]", "the nodes that it needs are down, drained or reserved"),
        ("SomethingNew", "waits (SomethingNew)"),
    ],
)
def test_what_a_job_waits_for_is_told_in_words_with_slurms_own(reason: str, words: str) -> None:
    assert waits_for(reason).startswith(words)


@pytest.mark.parametrize(
    ("state", "word"),
    [("idle", "idle"), ("mixed", "running"), ("allocated*", "unusable"), ("idle~", ""), ("idle#", "preparing")]
    + [
        ("drained", "unusable"),
        ("down*", "unusable"),
        ("idle%", "leaving"),
        ("mixed#", "preparing"),
        ("new", "unusable"),
    ],
)
def test_a_nodes_state_is_one_of_azures_words(state: str, word: str) -> None:
    assert node_state(state) == word


def test_every_word_for_a_node_is_one_that_is_counted() -> None:
    assert set(NODE_STATES.values()) == {"", "idle", "running", "preparing", "leaving", "unusable"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1:00", 1),
        ("00:01:30", 2),
        ("1-00:00:00", 1440),
        ("7-12:00:00", 10800),
        ("UNLIMITED", None),
        ("infinite", None),
    ],
)
def test_a_time_limit_is_read_in_minutes(text: str, found: int | None) -> None:
    assert minutes(text) == found


@pytest.mark.parametrize(
    ("gres", "of_node", "asked", "job"),
    [
        (None, 0, 1, "gpu:1"),
        ("gpu:a100:4", 4, 2, "gpu:a100:2"),
        ("gpu:4,nvme:1", 4, 1, "gpu:1,nvme:1"),
        ("gpu", 1, 1, "gpu:1"),
        ("gpu:a100:4,nvme:1", 4, 0, "nvme:1"),
    ],
)
def test_a_run_gets_as_many_gpus_of_the_targets_kind_as_it_asks_for(
    gres: str | None, of_node: int, asked: int, job: str
) -> None:
    assert gpus_of(gres) == of_node
    assert job_gres(gres, asked) == job


def test_a_nodes_gpus_are_counted_by_kind() -> None:
    said = "gpu:a100:4(S:0-1),gpu:v100:2(S:1),nvme:1"
    assert (node_gpus(said, ""), node_gpus(said, "v100"), node_gpus("", "")) == (6, 2, 0)


def test_the_batch_script_asks_for_what_the_target_says(tmp_path: Path) -> None:
    slurm = SlurmSpec(
        partition="gpu",
        account="lab",
        qos="high",
        constraint="ib&a100",
        gres="gpu:a100:4",
        time_limit_min=90,
        setup=["module load cuda"],
        options=["--nice=10"],
    )
    target = ComputeSpec(name="c", vm_size="STANDARD_NC6", slurm=slurm)
    request = job_request(tmp_path / "it's here", "pass", nodes=2, max_run_duration_s=600)
    plan = SlurmExecutor().plan(type(request)("run", 1, request.assignments, ["x"], target, 2))
    asked = [text[len("#SBATCH --") :] for text in plan.script.splitlines() if text.startswith("#SBATCH")]
    assert asked == [
        f"job-name={request.run_id}.1",
        "nodes=2",
        "ntasks-per-node=1",
        "partition=gpu",
        "account=lab",
        "qos=high",
        'constraint="ib&a100"',
        "gres=gpu:a100:2",
        "time=15",  # the run's own ten minutes, and five for what is around them
        "cpus-per-task=6",
        "mem=56000M",
        "chdir=/",
        "output=/dev/null",
        "export=ALL",
        "nice=10",
        "no-requeue",
    ]
    assert "\nmodule load cuda\n" in plan.script
    assert "secret-token" not in plan.script


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"partition": 'a"b'}, "without quotes"),
        ({"constraint": "$(id)"}, "without quotes"),
        ({"options": ["nice=1"]}, "begins with '-'"),
        ({"options": ["--requeue"]}, "stay as they are"),
        ({"options": ["-N 4"]}, "stay as they are"),
        ({"setup": ["a\nb"]}, "is one line"),
        ({"max_jobs": 0}, "max_jobs is 1 or more"),
        ({"cpus_per_node": -1}, "cpus_per_node is 0 or more"),
    ],
)
def test_what_cannot_stand_in_a_batch_script_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ComputeTargetException, match=words):
        check_options(SlurmSpec(**changes))


def test_a_server_without_slurms_commands_says_where_to_start_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ComputeTargetException, match="This server has no sbatch on its PATH. Start it on a machine"):
        SlurmExecutor().check(ComputeSpec(name="c"))


def test_nodes_are_counted_by_state_and_asked_for_once_in_a_while(prints: Prints) -> None:
    nodes = [("n1", "idle"), ("n2", "mixed"), ("n3", "down*"), ("n4", "idle~"), ("n5", "idle#")]
    prints("sinfo", "".join(f"{name}|{state}|8|64000|(null)|(null)|main\n" for name, state in nodes))
    commands = Commands()
    executor = SlurmExecutor(commands)
    spec = ComputeSpec(name="c", slurm=SlurmSpec(partition="main"))
    for _ in range(3):
        assert executor.count_nodes(spec) == NodeCounts(running=1, idle=1, preparing=1, unusable=1)
    assert commands.calls == {"sinfo": 1}


def test_that_slurm_does_not_answer_is_remembered_for_a_moment(prints: Prints) -> None:
    prints("sinfo", "", code=1, said="slurm_load_node: Unable to contact slurm controller (connect failure)\n")
    commands = Commands()
    executor = SlurmExecutor(commands)
    for _ in range(3):
        with pytest.raises(EngineAwayError, match="Slurm does not answer"):
            executor.count_nodes(ComputeSpec(name="c", slurm=SlurmSpec(partition="main")))
    assert commands.calls == {"sinfo": 1}
