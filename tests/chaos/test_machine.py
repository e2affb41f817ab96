"""What happens to the machine itself: it loses its power, its clock is set."""

import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.chaos import leftovers
from tests.chaos.holds import Gate, eventually
from tests.chaos.judge.aftermath import all_is_well, ends_as, ends_well
from tests.chaos.report import Row
from tests.chaos.yard import JUDGE, Yard

SOME = "w.lines(50); w.points(30); w.file('outputs/before', 70_000)\n"
MORE = "w.lines(50); w.points(30); w.file('outputs/after', 70_000)\n"
HOUR_S = 3600.0


def a_boot_of_its_own() -> list[str]:
    """A command that gives a program a process table of its own, which ends with it, all at one instant."""
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("needs unshare, and the right to make a process namespace (root)")
    return command


@pytest.mark.chaos("the machine loses its power, process ids begin anew", "Running")
def test_after_a_reboot_no_process_of_the_new_boot_is_taken_for_one_of_the_old(yard: Yard, row: Row) -> None:
    server = [sys.executable, "-m", "runyard_server", "--home", str(yard.folder), "--embedded"]
    machine = yard.start_server([*a_boot_of_its_own(), *server])
    witness = yard.witness_folder()
    run = yard.submit(SOME + "w.wait('here')\n" + MORE, witness)
    Gate(witness, "here").reached()
    yard.until(run, "Running")
    machine.kill()
    machine.wait()
    eventually(lambda: not leftovers.processes_of(yard.home), "the end of all that ran in that boot")
    looked_at = yard.look(run)
    ends_as(yard, row, run, "job_lost", looked_at)
    row.outcome = "Failed: the job is gone and left no word"
    all_is_well(yard, row, run, witness)


class SetClock:
    """The clock that the server was passed."""

    def __init__(self, yard: Yard) -> None:
        self._file = yard.root / "clock"
        self._file.write_text("0")
        self._server = yard.start_server(
            [sys.executable, str(JUDGE / "clocked_server.py"), str(yard.folder), str(self._file)]
        )

    def set(self, seconds: float) -> None:
        """Sets it so far from the true time."""
        new = self._file.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(self._file)

    def close(self) -> None:
        self._server.terminate()
        self._server.wait()


@pytest.fixture
def clock(yard: Yard) -> Iterator[SetClock]:
    made = SetClock(yard)
    yield made
    made.close()


@pytest.mark.chaos("the clock is set back an hour", "Queued")
def test_the_queue_keeps_its_order_when_the_clock_is_set_back(yard: Yard, row: Row, clock: SetClock) -> None:
    target = yard.target("one-node")
    front, witness, last = (yard.witness_folder() for _ in range(3))
    first = yard.submit("w.wait('here')\n", front, compute_target=target)
    gate = Gate(front, "here")
    gate.reached()
    second = yard.submit(SOME, witness, compute_target=target)
    yard.until(second, "Queued")
    clock.set(-HOUR_S)
    third = yard.submit(SOME, last, compute_target=target)
    yard.until(third, "Queued")
    assert (second.get_detailed_status()["position"], third.get_detailed_status()["position"]) == (1, 2)
    row.seconds = None
    gate.open()
    ends_well(yard, row, second, witness)
    yard.end_of(third)
    started = [(path / "journal-0").stat().st_mtime_ns for path in (witness, last)]
    assert started == sorted(started), "who came first was served last"
    assert first.get_status() == third.get_status() == "Completed"
    row.outcome = "keeps its place, Completed"


@pytest.mark.chaos("the clock is set back an hour", "Running")
def test_a_run_goes_on_when_the_clock_is_set_back(yard: Yard, row: Row, clock: SetClock) -> None:
    witness = yard.witness_folder()
    run = yard.submit(SOME + "w.wait('here')\n" + MORE, witness)
    gate = Gate(witness, "here")
    gate.reached()
    yard.until(run, "Running")
    clock.set(-HOUR_S)
    assert run.get_status() == "Running"
    row.seconds = None
    gate.open()
    ends_well(yard, row, run, witness)
    record = run._refresh()
    assert record["created_at"] <= record["started_at"] <= record["ended_at"], "a run lasts no time less than none"
    row.outcome = "goes on, Completed"


@pytest.mark.chaos("the clock is set back an hour, then kill -9 of the job", "Running")
def test_a_job_killed_after_the_clock_was_set_back_is_noticed(yard: Yard, row: Row, clock: SetClock) -> None:
    witness = yard.witness_folder()
    run = yard.submit(SOME + "w.wait('here')\n", witness)
    Gate(witness, "here").reached()
    yard.until(run, "Running")
    clock.set(-HOUR_S)
    at = yard.kill(yard.job_pid(run))
    ends_as(yard, row, run, "job_lost", at)
    row.outcome = "Failed: the job was ended by SIGKILL"
    all_is_well(yard, row, run, witness)
