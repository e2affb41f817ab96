"""The database behaves alike on SQLite and PostgreSQL where the records lean on it."""

import sqlite3
import threading

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.exc import OperationalError

from runyard_server.records.engine import Database, create_all
from runyard_server.records.tables import workspace


def _row(name):
    return {"id": name, "name": name, "created_at": 0.0, "settings": {}}


def _count(database):
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(workspace)).scalar_one()


def test_a_write_is_seen_by_the_next_read(database: Database):
    with database.write() as connection:
        connection.execute(insert(workspace), _row("a"))

    assert _count(database) == 1


def test_a_write_that_raises_leaves_nothing(database: Database):
    with pytest.raises(RuntimeError, match="broke"), database.write() as connection:
        connection.execute(insert(workspace), _row("a"))
        raise RuntimeError("broke")

    assert _count(database) == 0


def test_many_writers_at_once_all_get_through(database: Database):
    def write(number):
        for turn in range(5):
            with database.write() as connection:
                connection.execute(insert(workspace), _row(f"{number}-{turn}"))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert _count(database) == 40


def test_a_read_that_raises_does_not_hold_back_what_later_ones_see(database: Database):
    with pytest.raises(RuntimeError, match="broke"), database.read() as connection:
        connection.execute(select(workspace)).all()
        raise RuntimeError("broke")
    with database.write() as connection:
        connection.execute(insert(workspace), _row("a"))

    assert _count(database) == 1


def test_a_read_within_a_write_sees_what_was_committed_before(database: Database):
    with database.write() as connection:
        connection.execute(insert(workspace), _row("a"))
        assert _count(database) == 0

    assert _count(database) == 1


def test_a_file_that_another_process_writes_for_too_long_is_told_as_an_error_of_the_database(tmp_path):
    path = tmp_path / "records.db"
    database = Database(f"sqlite:///{path}")
    create_all(database.engine)
    with database.write() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=1")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OperationalError, match="locked"), database.write() as connection:
        connection.execute(insert(workspace), _row("a"))
    other.execute("ROLLBACK")
    with database.write() as connection:
        connection.execute(insert(workspace), _row("a"))

    assert _count(database) == 1
    other.close()
    database.close()
