"""Brings a database to this version's tables, one migration after the other."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from runyard.errors import ServiceException
from runyard_server.records.engine import Database

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0001"
VERSION_TABLE = "runyard_version"


def upgrade(database: Database) -> None:
    """Makes or migrates the tables; costs one query where they are this version's already.

    Raises:
        ServiceException: the database was written by a newer server.
    """
    with database.read() as connection:
        if current(connection) == HEAD:
            return
    from alembic import command  # only a migration needs it, and it is slow to import

    with database.write() as connection:
        here = current(connection)
        known = _revisions()
        if here is not None and here not in known:
            raise ServiceException(
                f"The database of this workspace was written by a newer runyard (its version is {here}, this server "
                f"knows up to {HEAD}). Install that version of runyard-server, or a newer one."
            )
        if here != HEAD:
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def current(connection: Connection) -> str | None:
    """The version of the database's tables, None for an empty one."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    return None if found is None else str(found)


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("file_template", "v%%(rev)s_%%(slug)s")
    return config


def _revisions() -> set[str]:
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
