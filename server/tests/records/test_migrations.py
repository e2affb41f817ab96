"""Records are brought to a newer version whole or not at all; older and newer databases are told apart."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, insert, inspect, select, text

from runyard.errors import ServiceException
from runyard.protocol.runs import RunRecord
from runyard.protocol.status import RunStatus
from runyard_server.records import experiments, made_by, migrate, runs
from runyard_server.records.engine import Database
from runyard_server.records.migrate import SHIPPED, Migrations
from runyard_server.records.tables import metadata

HERE = Path(__file__).parent
NEXT = Migrations((*SHIPPED.folders, HERE / "next_version"))
BROKEN = Migrations((*SHIPPED.folders, HERE / "broken_version"))

UPGRADE = """
import sys
from pathlib import Path
from runyard_server.records.engine import Database
from runyard_server.records.migrate import SHIPPED, Migrations, upgrade
database = Database(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
upgrade(database, Migrations((*SHIPPED.folders, Path(sys.argv[2]))))
"""


@pytest.fixture
def old_database(empty_database: Database) -> Database:
    """A database as the shipped version makes it, with a row in every table that one can refer to."""
    return filled(empty_database)


@pytest.fixture
def old_sqlite(tmp_path: Path) -> Iterator[Database]:
    """The same in a SQLite file: for what only a file can show."""
    database = Database(f"sqlite:///{tmp_path / 'records.db'}")
    yield filled(database)
    database.close()


def filled(database):
    migrate.upgrade(database)
    with database.write() as connection:
        for table in metadata.sorted_tables:
            connection.execute(insert(table), [example(table, number) for number in range(3)])
    return database


def example(table, number):
    """A row of which every column has a value; what refers to another table refers to its row of that number."""
    values = {}
    for column in table.columns:
        if not column.foreign_keys and (column.autoincrement is True or column.nullable):
            continue
        kind = column.type.python_type
        known = {
            str: f"{number}",
            int: number + bool(column.foreign_keys),  # keys that count by themselves begin at 1
            float: number + 0.5,
            bool: number == 0,
            bytes: bytes([number] * 8),
            dict: {"number": number},
        }
        values[column.name] = known.get(kind, number)
    return values


def rows(database, tables=metadata):
    """Every row of the tables, with the columns that the code has now."""
    with database.read() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(select(*table.columns)).all()))
            for table in tables.sorted_tables
        }


def schema(database):
    """All tables and columns as the database itself tells them."""
    found = MetaData()
    found.reflect(database.engine)
    return {table.name: sorted(column.name for column in table.columns) for table in found.sorted_tables}


def version(database):
    with database.read() as connection:
        return migrate.current(connection)


def kept_copy(database, number=migrate.HEAD):
    return Path(str(database.engine.url.database)).with_name(f"records.{number}.db")


def test_migrating_an_empty_database_gives_exactly_the_tables_of_the_code(empty_database: Database) -> None:
    migrate.upgrade(empty_database)
    with empty_database.read() as connection:
        options = {"compare_type": True, "version_table": migrate.VERSION_TABLE}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
        assert migrate.current(connection) == migrate.HEAD


def test_migrating_twice_changes_nothing(old_database: Database) -> None:
    before = rows(old_database)
    migrate.upgrade(old_database)
    assert rows(old_database) == before


def test_versions_are_one_line_from_the_first_to_the_newest() -> None:
    from alembic.script import ScriptDirectory

    walked = [each.revision for each in ScriptDirectory.from_config(migrate._config(SHIPPED)).walk_revisions()]
    assert walked[::-1] == SHIPPED.versions
    assert walked[0] == SHIPPED.head == migrate.HEAD


@pytest.mark.parametrize("start", SHIPPED.versions)
def test_every_earlier_version_is_brought_to_the_present_one(empty_database: Database, start: str) -> None:
    from alembic import command

    with empty_database.migrating() as connection:
        config = migrate._config(SHIPPED)
        config.attributes["connection"] = connection
        command.upgrade(config, start)
    with empty_database.write() as connection:
        connection.execute(text("INSERT INTO workspace VALUES ('1', 'kept', 1.0, '{}')"))
    migrate.upgrade(empty_database)
    assert version(empty_database) == migrate.HEAD
    assert len(rows(empty_database)["workspace"]) == 1


def test_runs_of_before_are_found_by_the_data_sets_that_they_read(database: Database) -> None:
    from alembic import command

    dataset = {
        "dataset": {"name": "stones\x00", "digest": "d" * 300},
        "tags": [{"key": "mlflow.data.context", "value": "eval"}],
    }
    properties = {"mlflow.dataset.d.stones": json.dumps(dataset), "mlflow.dataset.e.odd": "{", "other": "1"}
    with database.write() as connection:
        experiment = experiments.get_or_create(connection, "e", 1.0).id
        for number in range(3):
            known = properties if number else {"other": "1"}
            record = RunRecord(f"run-{number}", number, "e", "t", RunStatus.COMPLETED, 1.0, 1, properties=known)
            runs.add(connection, record, experiment)
    written = rows(database)["run_facts"]
    with database.migrating() as connection:
        connection.execute(text("DELETE FROM run_facts WHERE source = 'dataset'"))
        config = migrate._config(SHIPPED)
        config.attributes["connection"] = connection
        command.stamp(config, "0009")
    assert len(rows(database)["run_facts"]) == len(written) - 6
    migrate.upgrade(database)
    assert rows(database)["run_facts"] == written


def test_a_next_version_takes_every_row_along(old_database: Database) -> None:
    before = rows(old_database)
    assert all(len(found) == 3 for found in before.values())
    migrate.upgrade(old_database, NEXT)
    assert version(old_database) == "9001"
    assert rows(old_database) == before
    with old_database.read() as connection:
        assert set(connection.execute(text("SELECT colour FROM runs")).scalars()) == {"grey"}
        assert "ix_runs_colour" in {index["name"] for index in inspect(connection).get_indexes("runs")}


def test_references_between_tables_hold_after_a_migration_as_before(old_database: Database) -> None:
    migrate.upgrade(old_database, NEXT)
    with old_database.write() as connection:
        connection.execute(text("DELETE FROM runs WHERE id = '0'"))
    after = rows(old_database)
    assert len(after["run_events"]) == len(after["streams"]) == 2, "what belongs to a run goes with it"
    with pytest.raises(Exception, match="(?i)foreign key"), old_database.write() as connection:
        connection.execute(text("UPDATE runs SET colour = 'no such colour'"))


def test_a_migration_that_breaks_halfway_leaves_everything_as_it_was(old_database: Database) -> None:
    tables, content = schema(old_database), rows(old_database)
    with pytest.raises(
        ServiceException, match=r"could not be brought from version \d+ to 9001: .*no_such_table"
    ) as said:
        migrate.upgrade(old_database, BROKEN)
    assert "Nothing was changed" in str(said.value)
    assert (schema(old_database), rows(old_database), version(old_database)) == (tables, content, migrate.HEAD)
    migrate.upgrade(old_database)  # the server of before goes on serving it
    migrate.upgrade(old_database, NEXT)  # and a version that does it well is not hindered
    assert rows(old_database) == content


def test_a_sqlite_file_is_copied_before_it_is_migrated(old_sqlite: Database) -> None:
    content = rows(old_sqlite)
    migrate.upgrade(old_sqlite, NEXT)
    path = kept_copy(old_sqlite)
    assert path.stat().st_mode & 0o777 == 0o600
    copy = Database(f"sqlite:///{path}")
    assert (version(copy), rows(copy)) == (migrate.HEAD, content)
    copy.close()
    assert not list(path.parent.glob("*.new"))


def test_where_no_copy_can_be_made_nothing_is_migrated(old_sqlite: Database) -> None:
    content = rows(old_sqlite)
    kept_copy(old_sqlite).mkdir()  # in the copy's way
    with pytest.raises(ServiceException, match=r"no copy of them could be made.*Nothing was changed\. Give .* room"):
        migrate.upgrade(old_sqlite, NEXT)
    assert (version(old_sqlite), rows(old_sqlite)) == (migrate.HEAD, content)
    assert not list(kept_copy(old_sqlite).parent.glob("*.new"))


def test_no_copy_is_made_of_what_needs_no_migration(old_sqlite: Database) -> None:
    migrate.upgrade(old_sqlite)
    assert not kept_copy(old_sqlite).exists()


def test_of_two_servers_that_open_old_records_at_once_one_migrates_and_the_other_waits(old_database: Database) -> None:
    content = rows(old_database)
    url = old_database.engine.url.render_as_string(hide_password=False)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    servers = [
        subprocess.Popen(
            [sys.executable, "-c", UPGRADE, url, HERE / "next_version"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(3)
    ]
    for server in servers:
        assert server.stdout is not None and server.stdout.readline() == "ready\n"
    for server in servers:
        assert server.stdin is not None
        server.stdin.write("\n")
        server.stdin.flush()
    errors = [server.communicate()[1] for server in servers]
    assert [server.returncode for server in servers] == [0, 0, 0], errors
    assert sum("were brought from version" in error for error in errors) == 1
    assert version(old_database) == "9001" and rows(old_database) == content


def test_a_database_of_a_newer_server_is_refused_with_the_cure(old_database: Database) -> None:
    migrate.upgrade(old_database, NEXT)
    content = rows(old_database)
    with pytest.raises(ServiceException, match="newer runyard.*9001.*Install that version"):
        migrate.upgrade(old_database)
    assert (version(old_database), rows(old_database)) == ("9001", content)


def test_a_home_of_a_newer_server_is_refused_with_its_name_and_the_way_back(tmp_path: Path) -> None:
    made_by.refuse_newer(tmp_path)  # nobody has served it
    made_by.note(tmp_path)
    made_by.refuse_newer(tmp_path)
    (tmp_path / made_by.FILE).write_text('{"runyard": "9.1.0", "records": "9001"}')
    with pytest.raises(
        ServiceException, match=r"served by runyard 9\.1\.0.*Install runyard-server 9\.1\.0 or newer\.$"
    ):
        made_by.refuse_newer(tmp_path)
    (tmp_path / f"records.{migrate.HEAD}.db").touch()
    with pytest.raises(ServiceException, match=rf"Or go back.*records\.{migrate.HEAD}\.db is their copy"):
        made_by.refuse_newer(tmp_path)
