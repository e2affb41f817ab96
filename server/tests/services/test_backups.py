"""A backup is whole, whatever goes on while it is made, and what is restored is what was stored."""

import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from runyard.errors import ServiceException, UserErrorException
from runyard.protocol.files import FileEntry, Manifest
from runyard.protocol.runs import RunRecord
from runyard.protocol.status import Reason, RunStatus
from runyard_server.artifacts.store import FolderStore
from runyard_server.records import experiments, migrate, runs
from runyard_server.records.engine import Database
from runyard_server.services import backups
from runyard_server.testing.file_server import FileServer


class World(FileServer):
    """A home with runs that have files."""

    def __init__(self, home: Path, database: Database) -> None:
        super().__init__(home, database)
        self.home = home
        with database.write() as connection:
            connection.execute(text(f"CREATE TABLE {migrate.VERSION_TABLE} (version_num VARCHAR(32) NOT NULL)"))
            connection.execute(text(f"INSERT INTO {migrate.VERSION_TABLE} VALUES ('{migrate.HEAD}')"))

    def add(self, run_id: str, *contents: bytes) -> None:
        self.add_run(run_id)
        for number, content in enumerate(contents):
            incoming = self.store.begin()
            incoming.write(content)
            digest = hashlib.sha256(content).hexdigest()
            self.store.keep(incoming, digest)
            answer = self.files.commit(run_id, Manifest([FileEntry(f"outputs/{number}", len(content), digest)]))
            assert answer.id is not None


@pytest.fixture
def world(database: Database, tmp_path: Path):  # type: ignore[no-untyped-def]
    home = tmp_path / "home"
    home.mkdir()
    world = World(home, database)
    yield world
    world.close()


def read_back(home: Path, run_id: str) -> list[bytes]:
    database = Database(f"sqlite:///{home / 'records.db'}")
    store = FolderStore(home / "objects")
    try:
        from runyard_server.domain.clock import SystemClock
        from runyard_server.services.files import FileService

        files = FileService(database, SystemClock(), store)
        return [files.open(run_id, entry.path).location.read_bytes() for entry in files.list(run_id)]
    finally:
        store.close()
        database.close()


def test_what_is_restored_is_what_was_stored(world: World, tmp_path: Path) -> None:
    world.add("first", b"a", b"b")
    (world.home / "datastores" / "workspaceblobstore" / "data.csv").write_bytes(b"1,2")
    backups.save(world.database, world.home, tmp_path / "backup")
    restored = backups.restore(tmp_path / "backup", tmp_path / "new", verify=True)
    assert (restored.runs, restored.objects, restored.faults) == (1, 2, [])
    assert read_back(tmp_path / "new", "first") == [b"a", b"b"]
    assert (tmp_path / "new/datastores/workspaceblobstore/data.csv").read_bytes() == b"1,2"
    database = Database(f"sqlite:///{tmp_path / 'new' / 'records.db'}")
    migrate.upgrade(database)  # a server opens it as it is
    database.close()


def test_the_next_backup_copies_only_what_is_new(world: World, tmp_path: Path) -> None:
    world.add("first", b"a", b"b")
    first = backups.save(world.database, world.home, tmp_path / "backup")
    world.add("second", b"b", b"new")
    second = backups.save(world.database, world.home, tmp_path / "backup")
    assert (first.copied_objects, second.copied_objects, second.copied_bytes) == (2, 1, 3)
    assert backups.restore(tmp_path / "backup", tmp_path / "new", verify=True).faults == []
    assert read_back(tmp_path / "new", "second") == [b"b", b"new"]


def test_an_object_that_lies_there_in_another_size_is_copied_anew(world: World, tmp_path: Path) -> None:
    world.add("first", b"weights", b"b")
    backups.save(world.database, world.home, tmp_path / "backup")
    digest = hashlib.sha256(b"weights").hexdigest()
    copy = tmp_path / "backup" / "objects" / digest[:2] / digest[2:]
    copy.chmod(0o600)
    copy.write_bytes(b"wei")
    again = backups.save(world.database, world.home, tmp_path / "backup")
    assert (again.copied_objects, again.copied_bytes) == (1, 7)
    assert backups.restore(tmp_path / "backup", tmp_path / "new", verify=True).faults == []
    assert read_back(tmp_path / "new", "first") == [b"weights", b"b"]


def test_a_backup_of_newer_tables_is_refused_and_leaves_nothing(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    backup = backups.save(world.database, world.home, folder)
    with closing(sqlite3.connect(folder / backup.records)) as connection, connection:
        connection.execute(f"UPDATE {migrate.VERSION_TABLE} SET version_num = '9999'")
    digest = hashlib.sha256((folder / backup.records).read_bytes()).hexdigest()
    manifest = json.loads((folder / backups.MANIFEST).read_text())
    (folder / backups.MANIFEST).write_text(json.dumps({**manifest, "records_sha256": digest}))
    with pytest.raises(ServiceException, match="newer runyard"):
        backups.restore(folder, tmp_path / "new", verify=False)
    assert not (tmp_path / "new").exists() and not list(tmp_path.glob("new.*"))


def test_a_backup_taken_while_runs_are_written_is_whole(world: World, tmp_path: Path) -> None:
    stop, written = threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            world.add(f"run-{number}", f"own {number}".encode(), b"shared")
            number += 1
            written.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert written.wait(60)
        for _ in range(3):
            backups.save(world.database, world.home, tmp_path / "backup")
    finally:
        stop.set()
        writer.join()
    restored = backups.restore(tmp_path / "backup", tmp_path / "new", verify=True)
    assert restored.faults == [] and restored.runs >= 1


def test_a_backup_that_is_killed_leaves_the_one_before(world: World, tmp_path: Path) -> None:
    world.add("first", b"a")
    backups.save(world.database, world.home, tmp_path / "backup")
    world.add("second", b"b")
    (entry,) = world.files.list("second")
    world.store.path(entry.digest).write_bytes(b"x")  # damaged: the backup must not go on with it
    with pytest.raises(ServiceException, match="damaged"):
        backups.save(world.database, world.home, tmp_path / "backup")
    restored = backups.restore(tmp_path / "backup", tmp_path / "new", verify=True)
    assert (restored.runs, restored.faults) == (1, [])


def test_a_damaged_object_of_a_backup_is_told(world: World, tmp_path: Path) -> None:
    world.add("first", b"a", b"b")
    backups.save(world.database, world.home, tmp_path / "backup")
    (entry, _) = world.files.list("first")
    (tmp_path / "backup" / "objects" / entry.digest[:2] / entry.digest[2:]).write_bytes(b"x")
    restored = backups.restore(tmp_path / "backup", tmp_path / "new", verify=True)
    assert any("damaged" in fault for fault in restored.faults)
    assert any(fault.startswith("first: outputs/0") for fault in restored.faults)


def test_a_home_that_is_there_is_never_written_over(world: World, tmp_path: Path) -> None:
    backups.save(world.database, world.home, tmp_path / "backup")
    with pytest.raises(UserErrorException, match="is not empty"):
        backups.restore(tmp_path / "backup", world.home, verify=False)


def test_a_folder_without_a_whole_backup_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserErrorException, match="no whole backup"):
        backups.restore(tmp_path, tmp_path / "new", verify=False)


def test_a_backup_and_a_clean_up_shut_each_other_out(world: World, tmp_path: Path) -> None:
    with world.store.sweeping(), pytest.raises(ServiceException, match="clean-up"):
        backups.save(world.database, world.home, tmp_path / "backup")


def test_logs_of_a_run_that_goes_on_are_kept(world: World, tmp_path: Path) -> None:
    world.add("first")
    log = world.home / "logs" / "first" / "azureml-logs" / "70_driver_log.txt"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"so far\n")
    backups.save(world.database, world.home, tmp_path / "backup")
    log.write_bytes(b"so far\nand more\n")
    backups.save(world.database, world.home, tmp_path / "backup")
    backups.restore(tmp_path / "backup", tmp_path / "new", verify=False)
    assert (tmp_path / "new" / log.relative_to(world.home)).read_bytes() == b"so far\nand more\n"
    with Database(f"sqlite:///{tmp_path / 'new' / 'records.db'}").read() as connection:
        assert runs.find(connection, "first") is not None


def test_a_restored_workspace_has_ended_what_went_on_and_knows_none_of_its_jobs(world: World, tmp_path: Path) -> None:
    unfinished = [status for status in RunStatus if not status.is_terminal]
    world.add("ended")
    with world.database.write() as connection:
        for status in unfinished:
            world_id = status.value
            experiment = experiments.get_or_create(connection, "files", 1.0)
            number = experiments.next_number(connection, experiment.id)
            record = RunRecord(world_id, number, "files", "test", status, created_at=1.0, version=1)
            runs.add(connection, record, experiment.id)
            runs.add_jobs(connection, world_id, 1, [[0]])
            runs.set_handles(connection, world_id, 1, [{"pid": 1}], 1.0)
    backups.save(world.database, world.home, tmp_path / "backup")
    backups.restore(tmp_path / "backup", tmp_path / "new", verify=True)
    database = Database(f"sqlite:///{tmp_path / 'new' / 'records.db'}")
    try:
        with database.read() as connection:
            assert runs.get(connection, "ended").status is RunStatus.COMPLETED
            assert runs.count_unfinished(connection) == 0
            for status in unfinished:
                run = runs.get(connection, status.value)
                assert (run.status, run.reason) == (RunStatus.FAILED, Reason.JOB_LOST)
                assert "had not ended when the backup was made" in run.message
                assert runs.events(connection, run.id)[-1].to_status is RunStatus.FAILED
                assert runs.all_jobs_of(connection, run.id) == []
    finally:
        database.close()


def test_a_backup_leaves_foreign_files_and_removes_what_a_killed_one_left(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    folder.mkdir()
    foreign = ["records.csv", "logs.zip", "backup.json.old", "records.0123456789ab.db.mine"]
    left = ["records.0123456789ab.db", "logs.0123456789ab", "backup.json.0123456789ab"]
    for name in [*foreign, *left]:
        (folder / name).write_bytes(b"x")
    backups.save(world.database, world.home, folder)
    assert [name for name in foreign if not (folder / name).exists()] == []
    assert [name for name in left if (folder / name).exists()] == []


def test_a_second_backup_into_one_folder_is_refused_while_one_goes_on(world: World, tmp_path: Path) -> None:
    (tmp_path / "backup").mkdir()
    with open(tmp_path / "backup" / backups.LOCK, "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ServiceException, match="Another backup into"):
            backups.save(world.database, world.home, tmp_path / "backup")
    assert backups.save(world.database, world.home, tmp_path / "backup").objects == 0


def test_a_copy_of_a_datastore_becomes_what_the_datastore_is(world: World, tmp_path: Path) -> None:
    data = world.home / "datastores" / "workspaceblobstore"
    (data / "turns").write_bytes(b"a file")
    (data / "other").mkdir()
    (data / "other" / "inner").write_bytes(b"x")
    (data / "deleted").write_bytes(b"x")
    backups.save(world.database, world.home, tmp_path / "backup")
    (data / "turns").unlink()
    (data / "turns").mkdir()
    (data / "turns" / "inner").write_bytes(b"now a folder")
    shutil.rmtree(data / "other")
    (data / "other").write_bytes(b"now a file")
    (data / "deleted").unlink()
    (data / f".{'a' * 32}.new").write_bytes(b"half")
    (data / ".runyard-incoming").mkdir(exist_ok=True)
    (data / ".runyard-incoming" / "upload").write_bytes(b"half")
    backups.save(world.database, world.home, tmp_path / "backup")
    backups.restore(tmp_path / "backup", tmp_path / "new", verify=False)
    back = tmp_path / "new" / "datastores" / "workspaceblobstore"
    assert sorted(path.name for path in back.iterdir()) == ["other", "turns"]
    assert (back / "other").read_bytes() == b"now a file"
    assert (back / "turns" / "inner").read_bytes() == b"now a folder"


def test_links_within_a_datastore_are_kept_and_what_is_left_out_is_counted(world: World, tmp_path: Path) -> None:
    data = world.home / "datastores" / "workspaceblobstore"
    elsewhere = tmp_path / "elsewhere"
    data.rename(elsewhere)
    data.symlink_to(elsewhere)  # a root on another disk
    (data / "blobs").mkdir()
    (data / "blobs" / "b1").write_bytes(b"weights")
    (data / "snapshots").mkdir()
    (data / "snapshots" / "model.bin").symlink_to("../blobs/b1")
    (data / "absolute").symlink_to(data / "blobs")
    (data / "outside").symlink_to(tmp_path)
    os.mkfifo(data / "pipe")
    assert backups.save(world.database, world.home, tmp_path / "backup").left_out == 2
    assert backups.save(world.database, world.home, tmp_path / "backup").left_out == 2
    shutil.rmtree(elsewhere)
    backups.restore(tmp_path / "backup", tmp_path / "new", verify=False)
    back = tmp_path / "new" / "datastores" / "workspaceblobstore"
    assert (back / "snapshots" / "model.bin").is_symlink()
    assert (back / "snapshots" / "model.bin").read_bytes() == b"weights"
    assert (back / "absolute" / "b1").read_bytes() == b"weights"
    assert not (back / "outside").is_symlink() and not (back / "pipe").exists()
