"""The ``database`` fixture: each test that asks for it runs on SQLite and on PostgreSQL, on tables of its own."""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import create_engine, make_url
from sqlalchemy.engine import URL, Engine

from runyard_server.records.engine import Database, create_all
from runyard_server.testing.empty_tables import write_empty

# How long making an example takes says how busy the machine is.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

POSTGRES = "RUNYARD_TEST_POSTGRES"


class PostgresServer:
    """A PostgreSQL server on which every test gets a copy of one database with empty tables."""

    def __init__(self, url: str) -> None:
        self.url: URL = make_url(url)
        self.admin: Engine = create_engine(self.url, isolation_level="AUTOCOMMIT")
        self.template = f"runyard_template_{uuid4().hex[:12]}"
        self._run(f'CREATE DATABASE "{self.template}"')
        with_tables = create_engine(self.url.set(database=self.template))
        create_all(with_tables)
        with_tables.dispose()

    def create(self) -> URL:
        """The address of a fresh database (a copy of the template takes a tenth of a second)."""
        name = f"runyard_test_{uuid4().hex[:12]}"
        self._run(f'CREATE DATABASE "{name}" TEMPLATE "{self.template}"')
        return self.url.set(database=name)

    def drop(self, url: URL) -> None:
        self._run(f'DROP DATABASE "{url.database}" WITH (FORCE)')

    def close(self) -> None:
        self._run(f'DROP DATABASE "{self.template}"')
        self.admin.dispose()

    def _run(self, statement: str) -> None:
        with self.admin.connect() as connection:
            connection.exec_driver_sql(statement)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    url = os.environ.get(POSTGRES)
    if not url:
        pytest.skip(
            f"{POSTGRES} names no PostgreSQL server (example: postgresql+psycopg://postgres@/postgres?host=/tmp)"
        )
    server = PostgresServer(url)
    yield server
    server.close()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of a PostgreSQL database with empty tables, dropped after the test."""
    url = postgres_server.create()
    yield url.render_as_string(hide_password=False)
    postgres_server.drop(url)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database with empty tables: SQLite's in one turn, PostgreSQL's in the other."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    write_empty(tmp_path / "records.db")
    return f"sqlite:///{tmp_path}/records.db"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An open database with empty tables."""
    database = Database(database_url)
    yield database
    database.close()
