"""Brings a database to this version's tables, one migration after the other: all of them, or nothing is changed."""

import logging
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from runyard.errors import ServiceException
from runyard_server.records.engine import Database

if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE = "runyard_version"

log = logging.getLogger("runyard_server")


@dataclass(frozen=True)
class Migrations:
    """Folders of files ``v<version>_<what it does>.py``, the versions four digits that grow."""

    folders: tuple[Path, ...]

    @property
    def versions(self) -> list[str]:
        """All versions of the tables that these know, the first one first."""
        names = [path.name for folder in self.folders for path in folder.glob("v[0-9][0-9][0-9][0-9]_*.py")]
        return sorted(name[1:5] for name in names)

    @property
    def head(self) -> str:
        """The version that they lead to."""
        return self.versions[-1]


SHIPPED = Migrations((Path(__file__).parent / "migrations" / "versions",))
HEAD = SHIPPED.head


def upgrade(database: Database, migrations: Migrations = SHIPPED) -> None:
    """Makes or migrates the tables; costs one query where they are this version's already.

    One server migrates at a time, another one waits for it. A SQLite file is copied beforehand: ``records.db`` as it was
    at version 0001 stays as ``records.0001.db``.

    Raises:
        ServiceException: the database was written by a newer server, or cannot be copied or migrated; it is as it was.
    """
    with database.read() as connection:
        here = current(connection)
    if here == migrations.head:
        return
    _refuse_newer(here, migrations)
    with database.migrating() as connection:
        here = current(connection)  # another server may have been quicker
        _refuse_newer(here, migrations)
        if here == migrations.head:
            return
        if here is not None and database.is_sqlite:
            _keep_copy(database, here)
        try:
            _run(connection, migrations)
        except Exception as fault:
            raise ServiceException(
                f"The records of this workspace could not be brought from version {here or 'none'} to "
                f"{migrations.head}: {type(fault).__name__}: {fault}\nNothing was changed. The runyard-server that "
                "served this workspace before can go on serving it; please report this."
            ) from fault
    if here is not None:
        log.warning("The records were brought from version %s to %s", here, migrations.head)


def current(connection: Connection) -> str | None:
    """The version of the database's tables, None for an empty one."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    return None if found is None else str(found)


def _refuse_newer(here: str | None, migrations: Migrations) -> None:
    if here is not None and here not in migrations.versions:
        raise ServiceException(
            f"The database of this workspace was written by a newer runyard (its version is {here}, this server "
            f"knows up to {migrations.head}). Install that version of runyard-server, or a newer one."
        )


def _keep_copy(database: Database, version: str) -> None:
    """Copies the SQLite file while this process holds its write lock; the copy is whole or not there."""
    path = Path(database.engine.url.database or "")
    kept = path.with_name(f"{path.stem}.{version}{path.suffix}")
    unfinished = kept.with_name(kept.name + ".new")
    try:
        unfinished.unlink(missing_ok=True)
        with database.read() as connection, closing(sqlite3.connect(unfinished)) as copy:
            source = connection.connection.driver_connection
            assert isinstance(source, sqlite3.Connection)
            source.backup(copy)
        unfinished.chmod(0o600)
        with open(unfinished, "rb") as written:
            os.fsync(written.fileno())
        os.replace(unfinished, kept)
    except (OSError, sqlite3.Error) as fault:
        unfinished.unlink(missing_ok=True)
        raise ServiceException(
            f"The records must be migrated, and no copy of them could be made beforehand ({fault}). Nothing was "
            f"changed. Give {path.parent} room for another {path.stat().st_size / 1e6:,.0f} MB and start again."
        ) from fault


def _run(connection: Connection, migrations: Migrations) -> None:
    from alembic import command  # only a migration needs it, and it is slow to import

    config = _config(migrations)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config(migrations: Migrations) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(str(folder) for folder in migrations.folders))
    config.set_main_option("file_template", "v%%(rev)s_%%(slug)s")
    return config
