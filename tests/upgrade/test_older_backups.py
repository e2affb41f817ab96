"""A backup that an earlier version made is restored with the tables of this one, and everything of it is there."""

import hashlib
import json
import shutil
import sqlite3
import tarfile
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest

from runyard_server.records import migrate, runs
from runyard_server.records.engine import Database
from runyard_server.services import backups

from .test_kept_homes import HOMES, KEPT


def backup_of(home: Path, folder: Path) -> None:
    """A backup as the version of the home made it: its records as they are, and its files."""
    records = folder / "records.0123456789ab.db"
    folder.mkdir()
    with closing(sqlite3.connect(home / "records.db")) as source, closing(sqlite3.connect(records)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
        (tables,) = copy.execute(f"SELECT version_num FROM {migrate.VERSION_TABLE}").fetchone()
    for name, kept in (("objects", "objects"), ("datastores", "datastores"), ("logs", "logs.0123456789ab")):
        shutil.copytree(home / name, folder / kept)
    digest = hashlib.sha256(records.read_bytes()).hexdigest()
    said = backups.Backup(tables, 1.0, records.name, digest, "logs.0123456789ab", 0, 0, 0)
    (folder / backups.MANIFEST).write_text(json.dumps(asdict(said)))


@pytest.mark.parametrize("name", KEPT)
def test_a_backup_of_any_version_is_restored_whole(name: str, tmp_path: Path) -> None:
    with tarfile.open(HOMES / f"{name}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    (home,) = (path for path in tmp_path.iterdir() if path.is_dir())
    backup_of(home, tmp_path / "backup")
    restored = backups.restore(tmp_path / "backup", tmp_path / "new", verify=True)
    assert restored.runs >= 5 and restored.faults == []
    database = Database(f"sqlite:///{tmp_path / 'new' / 'records.db'}")
    with database.read() as connection:
        assert migrate.current(connection) == migrate.HEAD
        assert runs.count_unfinished(connection) == 0
    database.close()
    assert list((tmp_path / "new").glob("records.*.db")) == []
