"""Logs through the service: bytes are added once, in order, below their run's folder."""

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from runyard.errors import (
    FileNotInRunError,
    OffsetGapError,
    PathRefusedError,
    StorageFullError,
    UnknownRunError,
    UserErrorException,
)
from runyard_server.records.engine import Database
from runyard_server.records.tables import experiments, runs
from runyard_server.services.hub import ANYTHING, Change, Hub
from runyard_server.services.logs import LogService
from runyard_server.testing.empty_tables import open_empty

NAME = "azureml-logs/70_driver_log.txt"


class Listening(Hub):
    def __init__(self) -> None:
        super().__init__()
        self.published: list[str] = []

    def publish(self, run_id: str, change: Change = ANYTHING) -> None:
        self.published.append(run_id)


def database_with(path: Path, *run_ids: str) -> Database:
    database = open_empty(path / "records.db")
    with database.write() as connection:
        connection.execute(insert(experiments).values(id="e", name="e", created_at=0.0, tags={}, last_number=1))
        for number, run_id in enumerate(run_ids):
            connection.execute(
                insert(runs).values(
                    id=run_id,
                    experiment_id="e",
                    number=number,
                    type="azureml.scriptrun",
                    status="Running",
                    version=1,
                    attempt=1,
                    priority=0,
                    created_at=0.0,
                    warnings=[],
                    tags={},
                    properties={},
                )
            )
    return database


@pytest.fixture
def hub() -> Listening:
    return Listening()


@pytest.fixture
def logs(tmp_path: Path, hub: Listening) -> Iterator[LogService]:
    database = database_with(tmp_path, "r1", "r2")
    (tmp_path / "logs").mkdir()
    yield LogService(tmp_path / "logs", database, hub)
    database.close()


def test_bytes_are_added_at_the_end_and_followers_are_told(logs: LogService, hub: Listening) -> None:
    assert logs.append("r1", NAME, 0, b"one\n") == 4
    assert logs.append("r1", NAME, 4, b"two\n") == 8
    assert logs.append("r1", NAME, 8, b"") == 8
    assert logs.read("r1", NAME) == b"one\ntwo\n"
    assert hub.published == ["r1", "r1"]


def test_bytes_sent_twice_are_stored_once(logs: LogService, hub: Listening) -> None:
    logs.append("r1", NAME, 0, b"one two")
    assert logs.append("r1", NAME, 0, b"one two") == 7
    assert logs.append("r1", NAME, 4, b"two three") == 13
    assert logs.read("r1", NAME) == b"one two three"
    assert hub.published == ["r1", "r1"]


def test_a_gap_is_refused_with_the_size_that_is_stored(logs: LogService) -> None:
    logs.append("r1", NAME, 0, b"one")
    with pytest.raises(OffsetGapError) as gap:
        logs.append("r1", NAME, 4, b"two")
    assert gap.value.details == {"size": 3}
    with pytest.raises(OffsetGapError) as gap:
        logs.append("r1", "new.txt", 1, b"two")
    assert gap.value.details == {"size": 0}


def test_a_part_of_a_log_can_be_read(logs: LogService) -> None:
    logs.append("r1", NAME, 0, b"0123456789")
    assert logs.read("r1", NAME, 3) == b"3456789"
    assert logs.read("r1", NAME, 3, 4) == b"3456"
    assert logs.read("r1", NAME, 10) == logs.read("r1", NAME, 100) == logs.read("r1", NAME, 0, 0) == b""
    assert logs.read("r1", NAME, 2**63 - 1) == logs.read("r1", NAME, 2**70) == b""
    assert logs.size("r1", NAME) == 10
    with pytest.raises(UserErrorException):
        logs.read("r1", NAME, -1)


def test_a_log_that_is_not_there_is_refused_with_those_that_are(logs: LogService) -> None:
    logs.append("r1", NAME, 0, b"one")
    for name in ("missing.txt", "azureml-logs", NAME + "/below"):
        with pytest.raises(FileNotInRunError, match=NAME):
            logs.read("r1", name)
    with pytest.raises(FileNotInRunError, match="none so far"):
        logs.read("r2", NAME)
    assert logs.size("r2", NAME) == 0


def test_logs_are_listed_by_name_with_their_sizes(logs: LogService) -> None:
    assert logs.list("r1") == []
    logs.append("r1", "logs/b/c.txt", 0, b"123")
    logs.append("r1", NAME, 0, b"1")
    logs.append("r1", "a.txt", 0, b"12")
    assert logs.list("r1") == [("a.txt", 2), (NAME, 1), ("logs/b/c.txt", 3)]
    assert logs.list("r2") == []


def test_removed_logs_are_gone_and_others_stay(logs: LogService) -> None:
    logs.append("r1", NAME, 0, b"one")
    logs.append("r2", NAME, 0, b"two")
    assert logs.path("r1", NAME).read_bytes() == b"one"
    logs.remove("r1")
    assert (logs.list("r1"), logs.list("r2")) == ([], [(NAME, 3)])


def test_a_run_that_is_not_there_has_no_logs(logs: LogService, tmp_path: Path) -> None:
    with pytest.raises(UnknownRunError):
        logs.append("missing", NAME, 0, b"one")
    with pytest.raises(UnknownRunError):
        logs.list("missing")
    assert os.listdir(tmp_path / "logs") == []


@pytest.mark.parametrize("name", ["", "../r2/x", "/etc/passwd", "a//b", "a/../b", "~/x", "a\\b", "a\x00b", "x" * 2000])
def test_a_name_that_leaves_the_folder_is_refused(logs: LogService, name: str) -> None:
    with pytest.raises(PathRefusedError):
        logs.append("r1", name, 0, b"one")
    with pytest.raises(PathRefusedError):
        logs.read("r1", name)


@pytest.mark.parametrize("run_id", ["..", ".", "a/b", "", "../logs"])
def test_a_run_id_that_is_a_path_is_refused(logs: LogService, run_id: str) -> None:
    with pytest.raises(PathRefusedError):
        logs.append(run_id, NAME, 0, b"one")
    with pytest.raises(PathRefusedError):
        logs.list(run_id)


def test_a_link_that_leads_out_is_not_followed(logs: LogService, tmp_path: Path) -> None:
    logs.append("r1", NAME, 0, b"one")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "logs" / "r1" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(PathRefusedError):
        logs.read("r1", "link")
    with pytest.raises(PathRefusedError):
        logs.append("r1", "link", 6, b"more")
    assert logs.list("r1") == [(NAME, 3)]


def test_a_log_and_a_folder_cannot_have_one_name(logs: LogService) -> None:
    logs.append("r1", "a", 0, b"one")
    logs.append("r1", "b/c", 0, b"one")
    for name in ("a/b", "b", "x" * 300):
        with pytest.raises(PathRefusedError):
            logs.append("r1", name, 0, b"two")


def test_more_than_is_taken_at_once_is_refused(logs: LogService) -> None:
    with pytest.raises(UserErrorException):
        logs.append("r1", NAME, 0, bytes((16 << 20) + 1))
    with pytest.raises(UserErrorException):
        logs.append("r1", NAME, -1, b"x")


def test_a_full_disk_is_told_as_such_and_what_fitted_is_not_sent_again(tmp_path: Path) -> None:
    database_with(tmp_path, "r1").close()
    script = f"""
import resource
from pathlib import Path
from runyard.errors import StorageFullError
from runyard_server.records.engine import Database
from runyard_server.services.hub import Hub
from runyard_server.services.logs import LogService
database = Database("sqlite:///{tmp_path}/records.db")
logs = LogService(Path("{tmp_path}/logs"), database, Hub())
logs.append("r1", "a.txt", 0, b"x" * 50)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
try:
    logs.append("r1", "a.txt", 50, b"y" * 100)
except StorageFullError as problem:
    print(problem)
print(logs.size("r1", "a.txt"))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(logs.append("r1", "a.txt", 50, b"y" * 100))
print(logs.read("r1", "a.txt") == b"x" * 50 + b"y" * 100)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    message, *rest = ended.stdout.splitlines()
    assert "disk is full" in message and rest == ["100", "150", "True"]
    assert StorageFullError.http_status == 507 and resource.RLIMIT_FSIZE


def test_the_same_bytes_sent_by_many_threads_at_once_are_stored_once(logs: LogService) -> None:
    body = bytes(range(256)) * 40

    def send() -> None:
        size = 0
        while size < len(body):
            size = logs.append("r1", NAME, size, body[size : size + 100])

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert logs.read("r1", NAME) == body


@pytest.fixture(scope="module")
def chopping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LogService]:
    folder: Path = tmp_path_factory.mktemp("chopping")
    database = database_with(folder, "r1")
    yield LogService(folder / "logs", database, Hub())
    database.close()


@settings(deadline=None)
@given(body=st.binary(max_size=200), data=st.data())
def test_any_chopping_and_resending_gives_the_same_log(chopping: LogService, body: bytes, data: st.DataObject) -> None:
    chopping.remove("r1")
    size = 0
    while size < len(body):
        start = data.draw(st.integers(0, size))
        end = data.draw(st.integers(size + 1, len(body)))
        assert chopping.append("r1", NAME, start, body[start:end]) == end
        size = end
    assert (chopping.read("r1", NAME) if body else b"") == body
