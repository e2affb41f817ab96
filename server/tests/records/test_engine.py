"""The database behaves alike on SQLite and PostgreSQL where the records lean on it."""

import threading

import pytest
from sqlalchemy import func, insert, select

from runyard_server.records.engine import Database
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
