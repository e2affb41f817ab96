"""``empty_database``: a database without a table, on SQLite and on PostgreSQL."""

from collections.abc import Iterator

import pytest

from runyard_server.records.engine import Database
from runyard_server.records.tables import metadata


@pytest.fixture
def empty_database(database: Database) -> Iterator[Database]:
    """The shared fixture's database with its tables taken away again."""
    metadata.drop_all(database.engine)
    yield database
