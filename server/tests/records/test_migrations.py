"""The tables that migrations make are those that the code uses; older and newer databases are told apart."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from runyard.errors import ServiceException
from runyard_server.records import migrate
from runyard_server.records.engine import Database
from runyard_server.records.tables import metadata


def test_migrating_an_empty_database_gives_exactly_the_tables_of_the_code(empty_database: Database) -> None:
    migrate.upgrade(empty_database)
    with empty_database.read() as connection:
        options = {"compare_type": True, "version_table": migrate.VERSION_TABLE}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
        assert migrate.current(connection) == migrate.HEAD


def test_migrating_twice_changes_nothing(empty_database: Database) -> None:
    migrate.upgrade(empty_database)
    with empty_database.write() as connection:
        connection.execute(text("INSERT INTO experiments VALUES ('1', 'kept', 1.0, NULL, '{}', 0)"))
    migrate.upgrade(empty_database)
    with empty_database.read() as connection:
        assert connection.execute(text("SELECT name FROM experiments")).scalar_one() == "kept"


def test_the_newest_migration_is_the_one_that_the_code_asks_for() -> None:
    assert migrate.HEAD in migrate._revisions()


def test_a_database_of_a_newer_server_is_refused_with_the_cure(empty_database: Database) -> None:
    migrate.upgrade(empty_database)
    with empty_database.write() as connection:
        connection.execute(text(f"UPDATE {migrate.VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(ServiceException, match="newer runyard.*9999.*Install that version"):
        migrate.upgrade(empty_database)
