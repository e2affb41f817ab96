"""A server is upgraded while a run goes on; an older one finds a newer home and leaves it as it is.

Only real servers, one after the other over one home, with a real job that outlives them, can show that.
"""

import hashlib
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from runyard import Experiment, Run
from runyard.errors import ServiceException
from runyard_server.records import migrate
from tests.chaos.holds import eventually
from tests.upgrade import story
from tests.upgrade.conftest import Servers

LATER = Path(__file__).parents[2] / "server" / "tests" / "records"
NEXT, BROKEN = LATER / "next_version", LATER / "broken_version"
CANNOT_OPEN = 4


class Going:
    """A run that waits in the middle of its script."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.ready, self.go = folder / "ready", folder / "go"
        experiment = Experiment(story.open_workspace(home), story.EXPERIMENT)
        arguments = [str(self.ready), str(self.go)]
        self.run = story.submit(experiment, folder, story.WAITS, arguments=arguments)
        eventually(self.ready.exists, "the script")

    def judge(self) -> None:
        """What it wrote is there once, whichever server was away."""
        self.run.wait_for_completion()
        lines = "".join(f"line {number}\n" for number in range(story.LINES))
        assert self.run._read_log("azureml-logs/70_driver_log.txt") == lines + "let go\n"
        assert self.run.get_metrics()["steps"] == list(range(story.LINES))
        assert self.run._read_file("outputs/half.txt") == b"written before the end"
        assert self.run.verify()["ok"]
        assert [event["to_status"] for event in self.run._call("GET", "events")].count("Running") == 1


def tables_version(servers: Servers, database_url: str | None) -> str:
    engine = create_engine(database_url or f"sqlite:///{servers.folder / 'records.db'}")
    with engine.connect() as connection:
        found = connection.execute(text(f"SELECT version_num FROM {migrate.VERSION_TABLE}")).scalar_one()
    engine.dispose()
    return str(found)


def bytes_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("ends", ["while no server is there", "under the next server"])
def test_a_run_goes_on_while_its_server_is_upgraded(
    home: Path, tmp_path: Path, servers: Servers, database_url: str | None, ends: str
) -> None:
    servers.start()
    going = Going(home, tmp_path)
    servers.stop()
    if ends == "while no server is there":
        going.go.touch()
        spool = servers.folder / "runs" / going.run.id / "attempt-1" / "node-0" / "logs"
        eventually(lambda: "let go" in (spool / "azureml-logs" / "70_driver_log.txt").read_text(), "the script's end")
    servers.start(NEXT)
    assert tables_version(servers, database_url) == "9001"
    going.go.touch()
    going.judge()
    later = story.submit(going.run.experiment, tmp_path, story.QUEUES)
    later.wait_for_completion()
    assert later.number == going.run.number + 1


def test_an_upgrade_that_breaks_leaves_the_home_to_the_server_of_before_and_the_run_to_itself(
    home: Path, tmp_path: Path, servers: Servers, database_url: str | None
) -> None:
    servers.start()
    going = Going(home, tmp_path)
    servers.stop()
    code, said = servers.refused(BROKEN)
    assert code == CANNOT_OPEN, said
    assert "could not be brought from version" in said and "Nothing was changed" in said
    assert "Traceback" not in said
    assert tables_version(servers, database_url) == migrate.HEAD
    servers.start()
    going.go.touch()
    going.judge()


def test_an_older_server_refuses_a_newer_home_with_the_cure_and_changes_not_a_byte(
    home: Path, tmp_path: Path, servers: Servers, database_url: str | None
) -> None:
    servers.start(NEXT)
    run = story.submit(Experiment(story.open_workspace(home), story.EXPERIMENT), tmp_path, story.QUEUES)
    run.wait_for_completion()
    servers.stop()
    before = bytes_of(servers.folder)
    code, said = servers.refused()
    assert code == CANNOT_OPEN
    assert "records have version 9001, this server knows up to" in said and "Install runyard-server" in said
    assert "Traceback" not in said
    assert bytes_of(servers.folder) == before
    assert tables_version(servers, database_url) == "9001"
    servers.start(NEXT)
    assert Run(run.experiment, run.id).get_status() == "Completed"


def test_a_client_that_finds_a_newer_home_gets_the_cure(home: Path) -> None:
    folder = home / "workspaces" / story.WORKSPACE
    folder.mkdir(parents=True, mode=0o700)
    servers = Servers(folder, None)
    servers.start(NEXT)
    story.open_workspace(home)
    servers.stop()
    with pytest.raises(ServiceException, match=r"(?s)ended with code 4.*Install runyard-server"):
        story.open_workspace(home)


def test_records_that_alone_are_newer_are_refused_with_the_cure_too(home: Path) -> None:
    folder = home / "workspaces" / story.WORKSPACE
    folder.mkdir(parents=True, mode=0o700)
    servers = Servers(folder, None)
    servers.start(NEXT)
    servers.stop()
    (folder / "version.json").unlink()
    before = bytes_of(folder)
    code, said = servers.refused()
    assert code == CANNOT_OPEN and "written by a newer runyard" in said and "Traceback" not in said
    assert bytes_of(folder) == before
