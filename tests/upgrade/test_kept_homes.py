"""A home that an earlier version wrote opens with this one, and says what it said then.

Only a real server over the real files can show that: records, objects, logs and a run that was left alone halfway.
"""

import json
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runyard import Run, Workspace, embedded
from runyard import home as places
from runyard.protocol.version import VERSION
from runyard_server.records import made_by, migrate
from runyard_server.records.engine import Database
from tests.upgrade import story

HOMES = Path(__file__).parent / "homes"
KEPT = sorted(path.name.removesuffix(".tar.xz") for path in HOMES.glob("*.tar.xz"))


@dataclass
class Opened:
    """A kept home that this version serves; its runs have come to their ends."""

    folder: Path
    workspace: Workspace
    expected: dict[str, Any]
    tables_then: str | None

    def run(self, which: str) -> Run:
        return Run(self.workspace.experiments[story.EXPERIMENT], self.expected[which])


@pytest.fixture(scope="module", params=KEPT)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    home = tmp_path_factory.mktemp("home")
    folder = home / "workspaces" / story.WORKSPACE
    with tarfile.open(HOMES / f"{request.param}.tar.xz") as archive:
        archive.extractall(folder.parent, filter="data")
    expected = json.loads((HOMES / f"{request.param}.json").read_text(encoding="utf-8"))
    tables_then = tables_of(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNYARD_HOME", str(home))
        opened = Opened(folder, story.open_workspace(home), expected, tables_then)
        try:
            for which in ("going_on", "queued"):
                opened.run(which).wait_for_completion(raise_on_error=False)
            yield opened
        finally:
            embedded.stop(str(folder))


def tables_of(folder: Path) -> str | None:
    """The version of the tables, read from a copy: the kept files stay as they are, write-ahead log and all."""
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    database = Database(f"sqlite:///{copy / 'records.db'}")
    with database.read() as connection:
        found = migrate.current(connection)
    database.close()
    shutil.rmtree(copy)
    return found


def test_a_home_of_this_version_and_of_every_version_of_the_tables_is_kept() -> None:
    assert f"{VERSION}-{migrate.HEAD}" in KEPT, "run tools/keep_home.py at each release and after each migration"
    assert {name.rpartition("-")[2] for name in KEPT} == set(migrate.SHIPPED.versions)


def test_a_kept_home_says_what_it_said_then(opened: Opened) -> None:
    assert len(opened.expected["known"]["runs"]) >= 5
    assert story.differences(opened.expected["known"], story.read_back(opened.workspace)) == []


def test_the_run_that_went_on_in_a_kept_home_is_brought_to_its_true_end(opened: Opened) -> None:
    run = opened.run("going_on")
    assert run.get_status() == "Failed"
    assert run._refresh()["error"]["code"] == "job_lost"
    lines = "".join(f"line {number}\n" for number in range(story.LINES))
    assert run._read_log("azureml-logs/70_driver_log.txt") == lines
    assert run.get_metrics()["steps"] == list(range(story.LINES))
    assert run._read_file("outputs/half.txt") == b"written before the end"
    assert run.verify()["ok"]


def test_the_run_that_was_queued_in_a_kept_home_has_its_turn(opened: Opened) -> None:
    run = opened.run("queued")
    assert run.get_status() == "Completed", run.get_details()
    assert run._read_log("azureml-logs/70_driver_log.txt") == "it was my turn\n"


def test_a_kept_home_is_of_this_version_once_it_was_opened(opened: Opened) -> None:
    assert opened.tables_then in migrate.SHIPPED.versions
    said = places.read_json(str(opened.folder / made_by.FILE))
    assert said == {"runyard": VERSION, "records": migrate.HEAD}
    copies = sorted(path.name for path in opened.folder.glob("records.*.db"))
    assert copies == ([] if opened.tables_then == migrate.HEAD else [f"records.{opened.tables_then}.db"])
