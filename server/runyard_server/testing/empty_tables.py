"""SQLite files with this version's tables and no row: each kind is made once in a process, and then copied."""

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from runyard_server.records.engine import Database, create_all
from runyard_server.records.migrate import upgrade


def open_empty(path: Path) -> Database:
    """A database in a new file, with the tables alone, as ``create_all`` makes them."""
    write_empty(path)
    return Database(f"sqlite:///{path}")


def write_empty(path: Path) -> None:
    """Writes such a file."""
    path.write_bytes(_created())


def write_migrated(path: Path) -> None:
    """Writes a file as a server leaves it that has been started for the first time."""
    path.write_bytes(_migrated())


@cache
def _created() -> bytes:
    return _file_after(lambda database: create_all(database.engine))


@cache
def _migrated() -> bytes:
    return _file_after(upgrade)


def _file_after(make: Callable[[Database], None]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="runyard-tables-") as folder:
        path = Path(folder) / "records.db"
        database = Database(f"sqlite:///{path}")
        make(database)
        database.close()  # the last connection that closes leaves everything in the one file
        assert [each.name for each in Path(folder).iterdir()] == [path.name]
        return path.read_bytes()
