"""Disks without room: while a script logs, while its outputs are collected, while its environment is built.

The home lies on a file system of a few megabytes; the witness's journal lies elsewhere.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runyard import Experiment
from runyard.errors import StorageFullError
from runyard.run_files import log_pieces
from runyard_server.testing.wheels import make_wheel
from tests.chaos.holds import Gate, eventually
from tests.chaos.judge.aftermath import ends_well, nothing_is_left
from tests.chaos.limits import Ballast, small_disk
from tests.chaos.report import Row
from tests.chaos.yard import Yard

DRIVER_LOG = "azureml-logs/70_driver_log.txt"
MIB = 1 << 20

# Prints and logs as long as it is asked to, and keeps account, outside of the disk, of what the disk has taken.
WRITES_ON_A_FULL_DISK = """
import json
class Unheard:
    def write(self, text):
        raise OSError(28, "no room for the warning either")
    def flush(self):
        pass
sys.stderr = Unheard()
spool = w.run._metric_spool
taken = {{"log": "", "points": []}}
def write(first, last):
    for number in range(first, last):
        text = "line {{}} of a full disk\\n".format(number).encode()
        try:
            size = os.write(1, text)
        except OSError:
            size = 0
        taken["log"] += text[:size].decode()
        lost = spool.lost
        w.run.log("x", number)
        if spool.lost == lost:
            taken["points"].append(number)
write(0, 100)
w.wait("fill")
write(100, 400)
w.wait("room")
write(400, 500)
with open({account!r}, "w") as account:
    json.dump(dict(taken, lost=spool.lost), account)
"""


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ballast]:
    """A disk of 32 MiB at ``RUNYARD_HOME``."""
    with small_disk(tmp_path / "home", "32m") as folder:
        yield Ballast(folder)


@pytest.fixture
def yard(tmp_path: Path, disk: Ballast, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    """A yard whose home is the small disk."""
    made = Yard(tmp_path)
    for name, value in made.variables.items():
        monkeypatch.setenv(name, value)
    try:
        yield made
        disk.throw_off()
        made.close()
    finally:
        made.kill_everything()


@pytest.mark.chaos("the disk is full while the script logs, until it has room again", "Running")
def test_what_a_full_disk_takes_is_kept_exactly_and_the_rest_is_told(yard: Yard, disk: Ballast, row: Row) -> None:
    witness = yard.witness_folder()
    account = witness / "account.json"
    run = yard.submit(WRITES_ON_A_FULL_DISK.format(account=str(account)), witness)
    gate = Gate(witness, "fill")
    gate.reached()
    disk.fill()
    gate.open()
    gate = Gate(witness, "room")
    gate.reached()
    disk.throw_off()
    gate.open()
    row.seconds = yard.end_of(run)
    assert run.get_status() == "Completed", run.get_details()

    taken = json.loads(account.read_text())
    assert taken["lost"] > 0, "the disk was never full"
    assert b"".join(log_pieces(run, DRIVER_LOG)).decode() == taken["log"]
    assert run.get_metrics()["x"] == taken["points"]
    assert [text for text in run._refresh()["warnings"] if "are lost: the disk of the node was full" in text]
    proof = run.verify()
    assert not proof["ok"]
    (short,) = [stream for stream in proof["streams"] if stream["written"] != stream["stored"]]
    assert short["name"].startswith("metrics/rank-0")
    row.outcome = "Completed, with a warning; verify() says no"
    row.history = "exactly what fitted"
    nothing_is_left(yard, row)


@pytest.mark.chaos("the disk is full while a notebook logs, until it has room again", "Running")
def test_what_an_interactive_run_lost_to_a_full_disk_is_told(yard: Yard, disk: Ballast, row: Row) -> None:
    run = Experiment(yard.workspace, "chaos").start_logging()
    spool = run._metric_spool
    taken = []

    def write(first: int, last: int) -> None:
        for number in range(first, last):
            lost = spool.lost
            run.log("x", number)
            if spool.lost == lost:
                taken.append(number)

    write(0, 100)
    disk.fill()
    write(100, 400)
    disk.throw_off()
    write(400, 500)
    run.complete()
    assert run.get_status() == "Completed"
    assert spool.lost > 0, "the disk was never full"
    assert run.get_metrics()["x"] == taken
    assert [text for text in run._refresh()["warnings"] if "are lost: the disk of the node was full" in text]
    assert not run.verify()["ok"]
    row.seconds = None
    row.outcome = "Completed, with a warning; verify() says no"
    row.history = "exactly what fitted"
    nothing_is_left(yard, row)


@pytest.mark.chaos("the disk is full while outputs are collected, until it has room again", "Finalizing")
def test_outputs_that_do_not_fit_wait_for_room_and_say_so(yard: Yard, disk: Ballast, row: Row) -> None:
    witness = yard.witness_folder()
    run = yard.submit(f"w.lines(50); w.points(30); w.file('outputs/large', {8 * MIB})\nw.wait('here')\n", witness)
    gate = Gate(witness, "here")
    gate.reached()
    disk.fill(leave_bytes=4 * MIB)
    gate.open()
    yard.until(run, "Finalizing")
    eventually(lambda: "disk" in run.get_detailed_status()["details"], "what it waits for")
    assert run.get_status() == "Finalizing"
    disk.throw_off()
    row.seconds = yard.end_of(run)
    row.outcome = "Finalizing, with its reason, until there is room; then Completed"
    ends_well(yard, row, run, witness)


@pytest.mark.chaos("the disk is full while a client uploads its code", "not yet there")
def test_code_that_does_not_fit_is_refused_with_the_cure_and_goes_once_there_is_room(
    yard: Yard, disk: Ballast, row: Row
) -> None:
    assert yard.workspace.name
    script = "w.lines(10); w.points(10); w.file('outputs/a')\n"
    large = "# " + os.urandom(3 * MIB).hex()
    disk.fill(leave_bytes=3 * MIB)
    with pytest.raises(StorageFullError, match="room"):
        yard.submit(script + large, yard.witness_folder())
    assert list(Experiment(yard.workspace, "chaos").get_runs()) == []
    disk.throw_off()
    witness = yard.witness_folder()
    run = yard.submit(script + large, witness)
    row.seconds = None
    row.outcome = "refused with the cure, no run; once there is room: Completed"
    ends_well(yard, row, run, witness)


@pytest.mark.chaos("the disk is full while a client uploads to a datastore", "not yet there")
def test_data_that_does_not_fit_is_refused_and_what_came_whole_is_kept_whole(
    yard: Yard, disk: Ballast, row: Row, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    contents = {f"part-{number}": os.urandom(MIB // 4) for number in range(20)}
    contents["whole"] = os.urandom(4 * MIB)
    for name, content in contents.items():
        (data / name).write_bytes(content)
    datastore = yard.workspace.get_default_datastore()
    disk.fill(leave_bytes=4 * MIB)
    with pytest.raises(StorageFullError, match="room"):
        datastore.upload(str(data), "given", show_progress=False)
    place = yard.folder / "datastores" / datastore.name / "given"
    kept = {path.name: path.read_bytes() for path in place.iterdir()} if place.is_dir() else {}
    assert kept.items() <= contents.items() and len(kept) < len(contents)
    disk.throw_off()
    datastore.upload(str(data), "given", show_progress=False)
    assert {path.name: path.read_bytes() for path in place.iterdir()} == contents
    row.seconds = None
    row.outcome = "refused with the cure; once there is room the rest is sent"
    row.history = "what came whole is kept whole"
    nothing_is_left(yard, row)


@pytest.mark.chaos("the disk is full while an environment is built", "Preparing")
def test_an_environment_that_does_not_fit_fails_with_the_cure_and_is_built_once_there_is_room(
    yard: Yard, disk: Ballast, row: Row
) -> None:
    witness = yard.witness_folder()
    wheel = make_wheel(witness / "wheels", "large", "1.0", content="# large " * MIB)
    packages = ["--no-index", f"--find-links {wheel.parent}", "large==1.0"]
    assert yard.workspace.name
    disk.fill(leave_bytes=4 * MIB)
    run = yard.submit("w.lines(1)\n", witness, packages=packages)
    row.seconds = yard.end_of(run)
    cause = yard.cause(run)
    assert (run.get_status(), cause["code"]) == ("Failed", "environment_failed")
    assert "no room for the environment" in cause["message"]
    row.outcome = "Failed: no room for the environment, and how to make some"
    disk.throw_off()
    witness = yard.witness_folder()
    again = yard.submit("w.lines(10); w.points(10); w.file('outputs/a')\n", witness, packages=packages)
    ends_well(yard, row, again, witness)
