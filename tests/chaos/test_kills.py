"""kill -9 of each kind of process in each status of a run, and of all of them at once.

A run is held in its status from outside, so that each kill hits a known place:

- Starting: the server's loop hangs on a file of another run.
- Preparing: the build hangs on a package's file; or (half-built) while it installs that.
- Queued: another run has the only node.
- Running: the script waits at a gate.
- Finalizing: the job hangs on a file of ``outputs/``.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runyard import PyTorchConfiguration
from runyard.experiment import new_run_id
from runyard.run import Run
from runyard_server.testing.wheels import make_wheel
from tests.chaos import leftovers
from tests.chaos.holds import Gate, Hang, eventually
from tests.chaos.judge.aftermath import all_is_well, ends_as, ends_well, nothing_is_left
from tests.chaos.report import Row
from tests.chaos.yard import Yard, gates

SOME = "w.lines(50); w.points(30); w.file('outputs/before', 70_000)\n"
MORE = "w.lines(50); w.points(30); w.file('outputs/after', 70_000)\n"


@dataclass
class Held:
    """A run that stays in one status until ``release``."""

    run: Run
    witness: Path
    release: Callable[[], None]
    client: int | None = None


Submit = Callable[..., tuple[Run, int | None]]
Hold = Callable[..., Any]


def submitter(yard: Yard, from_a_client: bool) -> Submit:
    """How the run is submitted: from here, or by a client that is to be killed."""

    def submit(script: str, witness: Path, packages: list[str] | None = None, target: Any = None) -> Any:
        if from_a_client:
            return yard.submit_from_a_client(script, witness, packages, target.name if target else None)
        return yard.submit(script, witness, packages=packages, compute_target=target), None

    return submit


def slow_file(yard: Yard, run_id: str, name: str) -> Hang:
    """A file of a run that is still to come, in its node's directory."""
    assert yard.workspace.name == yard.name  # its folder is there
    path = yard.folder / "runs" / run_id / "attempt-1" / "node-0" / name
    path.parent.mkdir(parents=True)
    path.touch()
    return Hang(path)


@contextmanager
def starting(yard: Yard, from_a_client: bool = False) -> Iterator[Held]:
    other = new_run_id("other")
    with slow_file(yard, other, "handle.json") as disk:
        blocking = yard.submit("", run_id=other)
        disk.reached()
        witness = yard.witness_folder()
        run, client = submitter(yard, from_a_client)(SOME + MORE, witness)
        yard.until(run, "Starting")
        yield Held(run, witness, disk.release, client)
    yard.end_of(blocking)
    assert blocking.get_status() == "Completed", blocking.get_details()


@contextmanager
def preparing(yard: Yard, from_a_client: bool = False, half_built: bool = False) -> Iterator[Held]:
    witness = yard.witness_folder()
    name = witness.name.replace("witness", "held")
    wheel = make_wheel(witness / "wheels", name, "1.0")
    packages = ["--no-index", f"--find-links {wheel.parent}", f"{name}==1.0"]
    if half_built:  # with the lock at hand, the wheel is opened by the build itself
        first = yard.submit("", packages=packages)
        yard.end_of(first)
        assert first.get_status() == "Completed", first.get_details()
        shutil.rmtree(yard.home / "environments" / first._refresh()["environment_key"])
        shutil.rmtree(yard.cache)
    with Hang(wheel) as disk:
        run, client = submitter(yard, from_a_client)(SOME + MORE, witness, packages=packages)
        disk.reached()
        yard.until(run, "Preparing")
        if half_built:
            assert list((yard.home / "environments").glob("*/1/venv/bin/python"))
        yield Held(run, witness, disk.release, client)


@contextmanager
def queued(yard: Yard, from_a_client: bool = False) -> Iterator[Held]:
    front = yard.witness_folder()
    target = yard.target(front.name)
    holder = yard.submit("w.wait('here')\n", front, compute_target=target)
    gate = Gate(front, "here")
    gate.reached()
    witness = yard.witness_folder()
    run, client = submitter(yard, from_a_client)(SOME + MORE, witness, target=target)
    yard.until(run, "Queued")
    yield Held(run, witness, gate.open, client)
    yard.end_of(holder)


@contextmanager
def running(yard: Yard, from_a_client: bool = False) -> Iterator[Held]:
    witness = yard.witness_folder()
    run, client = submitter(yard, from_a_client)(SOME + "w.wait('here')\n" + MORE, witness)
    gate = Gate(witness, "here")
    gate.reached()
    yard.until(run, "Running")
    yield Held(run, witness, gate.open, client)


@contextmanager
def finalizing(yard: Yard, from_a_client: bool = False) -> Iterator[Held]:
    witness = yard.witness_folder()
    run, client = submitter(yard, from_a_client)(SOME + MORE + "w.wait('here')\n", witness)
    gate = Gate(witness, "here")
    gate.reached()
    with Hang(yard.node_folder(run) / "code" / "outputs" / "after") as disk:
        gate.open()
        disk.reached()
        yard.until(run, "Finalizing")
        yield Held(run, witness, disk.release, client)


STATUSES: dict[str, Hold] = {
    "Starting": starting,
    "Preparing": preparing,
    "Queued": queued,
    "Running": running,
    "Finalizing": finalizing,
}


def in_each_status(fault: str, *statuses: str) -> Any:
    """Parametrizes a test over statuses, each a case of the table."""
    return pytest.mark.parametrize(
        "status",
        [pytest.param(status, marks=pytest.mark.chaos(fault, status), id=status) for status in statuses or STATUSES],
    )


@in_each_status("kill -9 of the client")
def test_a_run_goes_on_without_the_client_that_submitted_it(yard: Yard, row: Row, status: str) -> None:
    with STATUSES[status](yard, from_a_client=True) as held:
        assert held.client is not None
        yard.kill(held.client)
        assert held.run.get_status() == status
        row.seconds = None
        held.release()
        ends_well(yard, row, held.run, held.witness)
    row.outcome = "goes on, Completed"


@in_each_status("kill -9 of the server")
def test_a_run_goes_on_when_its_server_is_back(yard: Yard, row: Row, status: str) -> None:
    with STATUSES[status](yard) as held:
        yard.kill_server()
        yard.look(held.run)
        assert held.run.status in (status, "Preparing", "Queued", "Running"), "a run goes on, never back"
        row.seconds = None
        held.release()
        ends_well(yard, row, held.run, held.witness)
    row.outcome = "goes on, Completed"


@pytest.mark.chaos("kill -9 of the server, an environment half-built", "Preparing")
def test_a_half_built_environment_is_built_anew(yard: Yard, row: Row) -> None:
    with preparing(yard, half_built=True) as held:
        yard.kill_server()
        assert held.run.get_status() == "Preparing"
        row.seconds = None
        held.release()
        ends_well(yard, row, held.run, held.witness)
    row.outcome = "goes on, Completed"


@pytest.mark.chaos("kill -9 of the server while it starts the job", "Queued")
def test_a_run_whose_server_was_killed_while_it_started_it_is_started_once(yard: Yard, row: Row) -> None:
    run_id, witness = new_run_id("chaos"), yard.witness_folder()
    with slow_file(yard, run_id, "handle.json") as disk:
        run = yard.submit(SOME + MORE, witness, run_id=run_id)
        disk.reached()
        yard.kill_server()
        disk.release()
        yard.look(run)
        row.seconds = None
        ends_well(yard, row, run, witness)
    row.outcome = "goes on, Completed"


@pytest.mark.chaos("kill -9 of the server, its script ends meanwhile", "Running")
def test_a_script_that_ends_while_no_server_is_there_is_told_later(yard: Yard, row: Row) -> None:
    with running(yard) as held:
        script = yard.script_pid(held.run)
        yard.kill_server()
        held.release()
        eventually(lambda: script not in leftovers.processes_of(yard.home), "the script's end")
        looked_at = yard.look(held.run)
        row.seconds = yard.end_of(held.run, looked_at)
        ends_well(yard, row, held.run, held.witness)
    row.outcome = "Completed"


@in_each_status("kill -9 of the job that stands by", "Starting", "Preparing", "Queued")
def test_a_run_starts_without_the_job_that_stood_by(yard: Yard, row: Row, status: str) -> None:
    with STATUSES[status](yard) as held:
        standing = eventually(lambda: leftovers.standing_by(yard.server_pid), "a job that stands by")
        yard.kill(*standing)
        assert held.run.get_status() == status
        row.seconds = None
        held.release()
        ends_well(yard, row, held.run, held.witness)
    row.outcome = "goes on, Completed"


@pytest.mark.chaos("kill -9 of the job", "Running")
def test_a_killed_job_is_noticed_and_what_its_script_wrote_is_kept(yard: Yard, row: Row) -> None:
    with running(yard) as held:
        at = yard.kill(yard.job_pid(held.run))
        ends_as(yard, row, held.run, "job_lost", at)
        assert "SIGKILL" in yard.cause(held.run)["message"]
        row.outcome = "Failed: the job was ended by SIGKILL"
        all_is_well(yard, row, held.run, held.witness)


@pytest.mark.chaos("kill -9 of the job before its first word", "Running")
def test_a_job_killed_before_it_has_begun_is_noticed(yard: Yard, row: Row) -> None:
    run_id = new_run_id("chaos")
    with slow_file(yard, run_id, "job.log") as disk:
        run = yard.submit("print('never')\n", run_id=run_id)
        disk.reached()
        yard.until(run, "Running")
        at = yard.kill(yard.job_pid(run))
        disk.release()
        ends_as(yard, row, run, "job_lost", at)
    row.outcome = "Failed: the job was ended by SIGKILL"
    assert run.get_metrics() == {}
    assert not [name for name in run.get_file_names() if name.startswith("outputs/") or "70_driver" in name]
    row.history = "nothing was written"
    nothing_is_left(yard, row)


@pytest.mark.chaos("kill -9 of the job", "Finalizing")
def test_a_job_killed_while_it_collects_is_followed_by_another(yard: Yard, row: Row) -> None:
    with finalizing(yard) as held:
        yard.kill(yard.job_pid(held.run))
        held.release()
        row.seconds = yard.end_of(held.run)
        ends_well(yard, row, held.run, held.witness)
    row.outcome = "collected by another job, Completed"


@pytest.mark.chaos("kill -9 of the job and the server", "Running")
def test_a_job_killed_while_no_server_is_there_is_noticed_by_the_next(yard: Yard, row: Row) -> None:
    with running(yard) as held:
        job = yard.job_pid(held.run)
        yard.kill_server()
        yard.kill(job)
        looked_at = yard.look(held.run)
        ends_as(yard, row, held.run, "job_lost", looked_at)
        row.outcome = "Failed: the job is gone and left no word"
        all_is_well(yard, row, held.run, held.witness)


@pytest.mark.chaos("kill -9 of the script", "Running")
def test_a_killed_script_is_seen_with_its_signal(yard: Yard, row: Row) -> None:
    with running(yard) as held:
        at = yard.kill(yard.script_pid(held.run))
        ends_as(yard, row, held.run, "signaled", at)
        cause = yard.cause(held.run)
        assert (cause["signal"], cause["rank"]) == ("SIGKILL", 0)
        row.outcome = "Failed: rank 0 was ended by SIGKILL"
        all_is_well(yard, row, held.run, held.witness)


@pytest.mark.chaos("kill -9 of the script in the middle of a flood", "Running")
def test_a_script_killed_while_it_writes_loses_nothing_that_was_written(yard: Yard, row: Row) -> None:
    witness = yard.witness_folder()
    run = yard.submit("while True:\n    w.lines(7); w.points(5); w.points(3, 'others')\n", witness)
    journal = witness / "journal-0"
    eventually(lambda: journal.exists() and journal.stat().st_size > 2_000_000, "a flood")
    at = yard.kill(yard.script_pid(run))
    ends_as(yard, row, run, "signaled", at)
    row.outcome = "Failed: rank 0 was ended by SIGKILL"
    all_is_well(yard, row, run, witness)


@pytest.mark.chaos("kill -9 of one rank of four", "Running")
def test_one_killed_rank_ends_the_others_and_is_named(yard: Yard, row: Row) -> None:
    witness = yard.witness_folder()
    run = yard.submit(
        "w.lines(20); w.points(20); w.file('outputs/rank-%d' % w.rank)\nw.wait('here')\n",
        witness,
        distributed_job_config=PyTorchConfiguration("Gloo", process_count=4, node_count=2),
        compute_target=yard.target("two-nodes", 2),
    )
    for gate in gates(witness, "here", ranks=4):
        gate.reached()
    at = yard.kill(yard.script_pid(run, rank=1, node=0))
    ends_as(yard, row, run, "signaled", at)
    cause = yard.cause(run)
    assert (cause["signal"], cause["rank"]) == ("SIGKILL", 1)
    row.outcome = "Failed: rank 1 was ended by SIGKILL"
    all_is_well(yard, row, run, witness)


@pytest.mark.parametrize(
    "node",
    [
        pytest.param(0, marks=pytest.mark.chaos("kill -9 of the first node's job of two", "Running"), id="first"),
        pytest.param(1, marks=pytest.mark.chaos("kill -9 of the second node's job of two", "Running"), id="second"),
    ],
)
def test_a_killed_job_of_a_gang_takes_nothing_of_the_folder_that_all_share(yard: Yard, row: Row, node: int) -> None:
    witness = yard.witness_folder()
    run = yard.submit(
        "w.lines(20); w.points(20); w.file('outputs/rank-%d' % w.rank, 300_000)\nw.wait('here')\n",
        witness,
        distributed_job_config=PyTorchConfiguration("Gloo", process_count=2, node_count=2),
        compute_target=yard.target("two-nodes-of-a-gang", 2),
    )
    for gate in gates(witness, "here", ranks=2):
        gate.reached()
    ends_as(yard, row, run, "job_lost", yard.kill(yard.job_pid(run, node)))
    row.outcome = f"Failed: the job of node {node} was lost"
    all_is_well(yard, row, run, witness)


@in_each_status("kill -9 of everything at once (a reboot)")
def test_after_a_reboot_a_run_goes_on_or_says_what_was_lost(yard: Yard, row: Row, status: str) -> None:
    with STATUSES[status](yard, from_a_client=True) as held:
        yard.kill_everything()
        held.release()
        looked_at = yard.look(held.run)
        if status == "Running":
            ends_as(yard, row, held.run, "job_lost", looked_at)
            row.outcome = "Failed: the job is gone and left no word"
            all_is_well(yard, row, held.run, held.witness)
        else:
            assert held.run.status != "Failed"
            row.seconds = None
            ends_well(yard, row, held.run, held.witness)
            row.outcome = "goes on, Completed"
