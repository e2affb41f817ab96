"""The file of the records is copied, put back, or torn, while a run goes on: what the server forgot is told to it again."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from runyard import embedded
from runyard.run import Run
from tests.chaos.holds import Gate, eventually
from tests.chaos.judge.aftermath import ends_well
from tests.chaos.judge.verdict import judge
from tests.chaos.report import Row
from tests.chaos.yard import Yard

WAL_HEADER = 32
FRAME_HEADER = 24
SOME = "w.lines(200); w.points(500); w.file('outputs/before', 70_000)\n"
MORE = "w.lines(200); w.points(500); w.file('outputs/after', 70_000)\n"


def records(yard: Yard) -> Path:
    return yard.folder / "records.db"


def log_of_writes(yard: Yard) -> Path:
    return yard.folder / "records.db-wal"


def delivered(run: Run, points: int) -> bool:
    """Whether the server has so many points."""
    return len(run.get_metrics().get("points-0", [])) == points


def running(yard: Yard, witness: Path) -> tuple[Run, Gate]:
    """A run that has delivered the first half of what it writes, and stands at its gate."""
    run = yard.submit(SOME + "w.wait('half')\n" + MORE, witness)
    gate = Gate(witness, "half")
    gate.reached()
    eventually(lambda: delivered(run, 500), "500 points on the server")
    return run, gate


@pytest.mark.chaos("the records' file is moved away and back, the server down between", "Running")
def test_records_that_were_away_while_the_server_was_down_are_as_before(yard: Yard, row: Row, tmp_path: Path) -> None:
    witness = yard.witness_folder()
    run, gate = running(yard, witness)
    embedded.stop(str(yard.folder))
    assert not log_of_writes(yard).exists(), "a server that was stopped leaves its records in one file"
    shutil.move(records(yard), tmp_path / "records.db")
    gate.open()
    shutil.move(tmp_path / "records.db", records(yard))
    assert run.get_status() in ("Running", "Finalizing", "Completed")
    row.seconds = yard.end_of(run)
    row.outcome = "Completed"
    ends_well(yard, row, run, witness)


@pytest.mark.chaos("the records are put back from a copy made while the server ran", "Running")
def test_a_job_tells_again_what_records_from_an_older_copy_do_not_know(yard: Yard, row: Row, tmp_path: Path) -> None:
    earlier = yard.witness_folder()
    first = yard.submit(SOME, earlier)
    yard.end_of(first)
    witness = yard.witness_folder()
    run = yard.submit("w.points(100); w.wait('copied')\nw.points(400); w.wait('half')\n" + MORE, witness)
    gate = Gate(witness, "copied")
    gate.reached()
    eventually(lambda: delivered(run, 100), "100 points on the server")
    with sqlite3.connect(records(yard)) as source, sqlite3.connect(tmp_path / "copy.db") as copy:
        source.backup(copy)
    source.close()
    copy.close()
    gate.open()
    gate = Gate(witness, "half")
    gate.reached()
    eventually(lambda: delivered(run, 500), "500 points on the server")
    yard.kill_server()
    for name in ("records.db", "records.db-wal", "records.db-shm"):
        (yard.folder / name).unlink()
    shutil.copy(tmp_path / "copy.db", records(yard))
    assert run.get_status() == "Running"
    eventually(lambda: delivered(run, 500), "what the copy did not have")
    gate.open()
    row.seconds = yard.end_of(run)
    assert judge(first, earlier)
    row.outcome = "Completed"
    ends_well(yard, row, run, witness)


def cut(wal: Path, page: int) -> None:
    """Ends the file in the middle of its last frame, as a power failure may."""
    frames = (wal.stat().st_size - WAL_HEADER) // (FRAME_HEADER + page)
    assert frames > 1
    os.truncate(wal, WAL_HEADER + (frames - 1) * (FRAME_HEADER + page) + FRAME_HEADER + page // 2)


def litter(wal: Path, page: int) -> None:
    """Writes what was never written to the end of the file: two frames and a half."""
    with open(wal, "ab") as file:
        file.write(os.urandom((FRAME_HEADER + page) * 5 // 2))


@pytest.mark.parametrize(
    "tear",
    [
        pytest.param(cut, marks=pytest.mark.chaos("the write-ahead log ends in the middle of a frame", "Running")),
        pytest.param(litter, marks=pytest.mark.chaos("garbage at the end of the write-ahead log", "Running")),
    ],
)
def test_a_torn_log_of_writes_costs_nothing_that_a_job_can_tell_again(
    yard: Yard, row: Row, tear: Callable[[Path, int], None]
) -> None:
    witness = yard.witness_folder()
    run, gate = running(yard, witness)
    yard.kill_server()
    tear(log_of_writes(yard), 4096)
    assert run.get_status() == "Running"
    eventually(lambda: delivered(run, 500), "what was torn off")
    gate.open()
    row.seconds = yard.end_of(run)
    row.outcome = "Completed"
    ends_well(yard, row, run, witness)
