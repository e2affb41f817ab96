"""Runs on a real engine that are held in a status from outside, how such a case ends, and what holds on every engine."""

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runyard.job import processes
from runyard.run import Run
from runyard_server.testing.left_behind import left_of
from runyard_server.testing.ray_yard import RayYard
from runyard_server.testing.slurm_yard import SlurmYard
from tests.chaos.holds import Gate, Hang, eventually
from tests.chaos.judge.verdict import judge
from tests.chaos.report import Row
from tests.chaos.yard import HEAD, JUDGE, environment

SOME = "w.lines(50); w.points(30); w.file('outputs/before', 70_000)\n"
MORE = "w.lines(50); w.points(30); w.file('outputs/after', 70_000)\n"
# A second attempt that finds what the first one has left; the witness speaks for the first alone.
ELSE = """
if os.environ["RUNYARD_RUN_ATTEMPT"] != "1":
    sys.exit("before" not in os.listdir(os.environ["RUNYARD_RESUME_DIR"]))
"""

Yard = SlurmYard | RayYard


@dataclass
class Case:
    """A run on the cluster and what it wrote."""

    yard: Any  # a Yard
    run: Run
    witness: Path
    release: Callable[[], None]

    def kill(self, is_it: Callable[[list[str]], bool]) -> None:
        """``kill -9`` of the one process of the run whose command line is so."""
        (victim,) = [pid for pid in self.left() if is_it(processes.command_of(pid))]
        os.kill(victim, signal.SIGKILL)

    def left(self) -> list[int]:
        """Processes that carry the run's mark."""
        return left_of(self.run.id)

    def written_status(self) -> str:
        """Its status as the records have it, where the server cannot be asked."""
        with sqlite3.connect(f"file:{self.yard.folder}/records.db?mode=ro", uri=True, timeout=30) as records:
            ((found,),) = records.execute("select status from runs where id = ?", (self.run.id,))
        return str(found)

    def story(self) -> list[str]:
        """Its statuses from the first to the present one."""
        return [event["to_status"] for event in self.run._call("GET", "events")]


def is_the_script(command: list[str]) -> bool:
    return "train.py" in command


def is_the_job(command: list[str]) -> bool:
    return command[-2:] == ["-m", "runyard.job"]


def submitted(yard: Yard, folder: Path, script: str, **config: Any) -> tuple[Run, Path]:
    """A run of ``script`` with ``w``, its ``Witness``, at hand, and the folder of its evidence."""
    witness = folder / "witness"
    witness.mkdir()
    head = f"import sys\nsys.path.insert(0, {str(JUDGE)!r})\n" + HEAD.format(str(witness))
    return yard.submit(folder / "source", head + script, environment(None), **config), witness


@contextmanager
def running(yard: Yard, folder: Path, script: str = SOME + "w.wait('here')\n" + MORE, **config: Any) -> Iterator[Case]:
    """One whose script stands at the gate "here"."""
    run, witness = submitted(yard, folder, script, **config)
    gate = Gate(witness, "here")
    gate.reached(yard.patience_s)
    yard.until(lambda: run.get_status() == "Running", "a run in Running")  # it is seen by the next look at the engine
    yield Case(yard, run, witness, gate.open)


@contextmanager
def finalizing(yard: Yard, folder: Path, **config: Any) -> Iterator[Case]:
    """One whose job hangs on a file of its outputs."""
    with running(yard, folder, SOME + MORE + "w.wait('here')\n", **config) as case:
        place = Path(yard.folder, "runs", case.run.id, "attempt-1", "node-0", "code", "outputs", "after")
        with Hang(place) as disk:
            case.release()
            disk.reached()
            yard.until(lambda: case.run.get_status() == "Finalizing", "a run in Finalizing")
            yield Case(yard, case.run, case.witness, disk.release)


def ends(case: Case, row: Row, status: str, code: str | None = None) -> dict[str, Any]:
    """The run has that end and cause, with all that its script wrote; nothing is left, and the next run works."""
    details = case.yard.end(case.run)
    assert details["status"] == status, details
    record = dict(case.run._refresh())
    assert (record["error"] or {}).get("code") == code, record["error"]
    row.seconds = None
    row.history = judge(case.run, case.witness)
    eventually(lambda: not case.left(), lambda: f"the end of {case.left()}")
    case.yard.cluster.clear()
    row.left = "nothing"
    following = case.yard.submit(case.witness / "next", "print(1)", environment(None))
    assert case.yard.end(following)["status"] == "Completed", case.yard.end(following)
    row.next_run = "works"
    return record


def in_status(fault: str, *statuses: str) -> Any:
    """Runs a test in each of these statuses, a row of the table each."""
    return pytest.mark.parametrize(
        "status",
        [pytest.param(status, marks=pytest.mark.chaos(fault, status), id=status) for status in statuses],
    )


def server_is_killed(
    held: AbstractContextManager[Case], row: Row, status: str, jobs: Callable[[Case], Sequence[str]]
) -> None:
    """The run goes on, and the engine has one job of it.

    Args:
        jobs: the engine's jobs of the run.
    """
    with held as case:
        case.yard.kill_server()
        case.yard.server = case.yard.start_server()
        assert case.run.get_status() == status
        case.release()
        ends(case, row, "Completed")
        assert len(jobs(case)) == 1
    row.outcome = "goes on, Completed"


def rank_is_killed(yard: Yard, row: Row, folder: Path) -> None:
    with running(yard, folder) as case:
        case.kill(is_the_script)
        ends(case, row, "Failed", "signaled")
    row.outcome = "Failed: rank 0 was ended by SIGKILL"


def job_is_killed(yard: Yard, row: Row, folder: Path) -> None:
    with running(yard, folder) as case:
        case.kill(is_the_job)
        ends(case, row, "Failed", "job_lost")
    row.outcome = "Failed: the job was ended by SIGKILL"


def collecting_job_is_killed(yard: Yard, row: Row, folder: Path) -> None:
    with finalizing(yard, folder) as case:
        case.kill(is_the_job)
        case.release()
        ends(case, row, "Completed")
    row.outcome = "collected by another job, Completed"


def node_is_cut_off(
    yard: Yard, row: Row, folder: Path, cut_off: Callable[[Case], AbstractContextManager[None]], within_s: float
) -> None:
    """What a node writes meanwhile comes when it is heard of again.

    Args:
        cut_off: keeps the run's node from the server.
        within_s: how long it may take until its silence is noticed.
    """
    with running(yard, folder, SOME + "w.wait('here')\n" + MORE + "w.wait('there')\n") as case:
        with cut_off(case):
            case.release()  # it goes on as if nothing was the matter
            eventually(lambda: case.written_status() == "NotResponding", "a run that does not respond", within_s)
        yard.until(lambda: case.run.get_status() == "Running", "a run that is heard of again")
        Gate(case.witness, "there").open()
        ends(case, row, "Completed")
    assert case.story()[-5:-1] == ["Running", "NotResponding", "Running", "Finalizing"]
    row.outcome = "NotResponding, then Running, then Completed"
