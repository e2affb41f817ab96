"""The judge itself: it must see each thing that could be wrong, or the whole suite shows nothing. Needs no server."""

import fcntl
import hashlib
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos import leftovers
from tests.chaos.judge import witness
from tests.chaos.judge.verdict import History, compare, read_journals

LOG = "azureml-logs/70_driver_log.txt"
Change = Callable[[History], None]


class Run:
    """Stands for the run that a script logs to."""

    def log(self, name: str, value: float) -> None:
        pass


def written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    """Has a witness write, and gives the history as it must be."""
    monkeypatch.chdir(folder)
    made = witness.Witness(str(folder), Run())
    made.lines(10)
    made.lines(10, each=False)
    made.points(20)
    made.file("outputs/a", 100_000)
    content = b"".join(witness.content("outputs/a", 100_000))
    assert (folder / "outputs" / "a").read_bytes() == content
    return History(
        {LOG: "".join(witness.line(0, number) for number in range(20)).encode()},
        {"points-0": [witness.point("points-0", number) for number in range(20)]},
        {"outputs/a": hashlib.sha256(content).hexdigest()},
    )


def test_a_history_as_it_was_written_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = written(tmp_path, monkeypatch)
    assert compare(read_journals(tmp_path), history) == "20 lines, 20 points, 1 files"


def test_what_was_begun_and_not_done_may_be_there_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = written(tmp_path, monkeypatch)
    with open(tmp_path / "journal-0", "a") as journal:
        journal.write(
            '["begin", "lines", [20, 21]]\n["begin", "points-0", [20, 21]]\n["begin", "file", ["outputs/b", 9]]\n'
        )
    journals = read_journals(tmp_path)
    compare(journals, history)
    history.logs[LOG] += witness.line(0, 20).encode()[:7]
    history.metrics["points-0"].append(witness.point("points-0", 20))
    history.outputs["outputs/b"] = "of as much as was written"
    compare(journals, history)


def change_log(change: Callable[[list[bytes]], list[bytes]]) -> Change:
    def on(history: History) -> None:
        history.logs[LOG] = b"".join(change(history.logs[LOG].splitlines(keepends=True)))

    return on


def change_points(change: Callable[[list[float]], list[float]]) -> Change:
    def on(history: History) -> None:
        history.metrics["points-0"] = change(history.metrics["points-0"])

    return on


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(change_log(lambda lines: lines[:-1]), id="the last line is lost"),
        pytest.param(change_log(lambda lines: lines[1:]), id="the first line is lost"),
        pytest.param(change_log(lambda lines: lines[:5] + lines[4:]), id="a line is doubled"),
        pytest.param(change_log(lambda lines: lines + lines[-1:]), id="the last line is doubled"),
        pytest.param(change_log(lambda lines: [lines[1], lines[0], *lines[2:]]), id="two lines changed places"),
        pytest.param(change_log(lambda lines: [lines[0].replace("ü".encode(), b"?"), *lines[1:]]), id="a changed byte"),
        pytest.param(change_log(lambda lines: [*lines, b"\n"]), id="a byte too many"),
        pytest.param(lambda history: history.logs.clear(), id="no log"),
        pytest.param(
            lambda history: history.logs.update({"azureml-logs/70_driver_log_9.txt": b""}), id="a log too many"
        ),
        pytest.param(change_points(lambda points: points[:-1]), id="the last point is lost"),
        pytest.param(change_points(lambda points: points + points[-1:]), id="a point is doubled"),
        pytest.param(
            change_points(lambda points: [math.nextafter(points[0], 0.0), *points[1:]]), id="a point is rounded"
        ),
        pytest.param(change_points(lambda points: points[::-1]), id="the points are in another order"),
        pytest.param(lambda history: history.metrics.clear(), id="no metrics"),
        pytest.param(lambda history: history.metrics.update(other=[1.0]), id="a metric too many"),
        pytest.param(lambda history: history.outputs.clear(), id="no outputs"),
        pytest.param(lambda history: history.outputs.update({"outputs/a": "0" * 64}), id="an output is changed"),
        pytest.param(lambda history: history.outputs.update({"outputs/b": "0" * 64}), id="an output too many"),
    ],
)
def test_a_history_that_is_not_as_it_was_written_is_refused(
    wrong: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = written(tmp_path, monkeypatch)
    wrong(history)
    with pytest.raises(AssertionError):
        compare(read_journals(tmp_path), history)


@pytest.mark.parametrize(
    "path",
    [
        "workspaces/w/runs/a-run",
        "workspaces/w/logs/a-run",
        "workspaces/w/server.json",
        "workspaces/w/objects/incoming/" + "0" * 32,
        "workspaces/w/objects/ab/" + "0" * 62 + ".part",
        "environments/" + "0" * 40 + "/1",
        "environments/" + "0" * 40 + "/ready.json.new",
        "sdk/0123456789abcdef.01234567",
        "spool/a-run~writer",
        "server-python.json.123.tmp",
    ],
)
def test_a_file_that_should_not_be_there_is_found(path: str, tmp_path: Path) -> None:
    target = tmp_path / path
    target.parent.mkdir(parents=True, exist_ok=True)
    assert list(leftovers.stray_files(tmp_path, is_served=False)) == []
    target.mkdir()
    assert list(leftovers.stray_files(tmp_path, is_served=False)) == [Path(path)]


def test_processes_ports_and_locks_of_a_home_are_found(tmp_path: Path) -> None:
    script = (
        "import fcntl, socket\n"
        "lock = open('a.lock', 'w')\nfcntl.flock(lock, fcntl.LOCK_EX)\n"
        "listener = socket.create_server(('127.0.0.1', 0))\nprint(listener.getsockname()[1], flush=True)\ninput()\n"
    )
    assert leftovers.processes_of(tmp_path) == {}
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    port = int(process.stdout.readline())
    try:
        assert list(leftovers.processes_of(tmp_path)) == [process.pid]
        assert leftovers.listening_ports({process.pid}) == {port}
        assert list(leftovers.held_locks(tmp_path)) == [tmp_path / "a.lock"]
    finally:
        process.communicate(b"\n")
    assert leftovers.processes_of(tmp_path) == {}
    assert list(leftovers.held_locks(tmp_path)) == []
    with open(tmp_path / "a.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # looking holds nothing
