"""Servers of this version and of an imagined next one, one after the other over one home."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, make_url

from runyard import embedded
from runyard import home as places
from runyard.job import processes
from tests.chaos import leftovers
from tests.chaos.holds import eventually
from tests.upgrade import story

NEXT_SERVER = Path(__file__).with_name("next_server.py")
POSTGRES = "RUNYARD_TEST_POSTGRES"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """``RUNYARD_HOME`` of the test; the servers that clients started in it are stopped afterwards."""
    home = tmp_path / "home"
    monkeypatch.setenv("RUNYARD_HOME", str(home))
    yield home
    for name in places.workspace_names():
        embedded.stop(places.workspace_folder(name))
    try:
        eventually(lambda: not leftovers.processes_of(home), "the end of every process of the home")
    finally:
        for pid in leftovers.processes_of(home):  # of a test that failed: a script may wait forever
            processes.send(pid, signal.SIGKILL)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Where the records of a home are: None for SQLite in the home itself; an empty PostgreSQL database."""
    if request.param == "sqlite":
        yield None
        return
    if not os.environ.get(POSTGRES):
        pytest.skip(f"{POSTGRES} names no PostgreSQL server")
    url = make_url(os.environ[POSTGRES])
    name = f"runyard_upgrade_{uuid4().hex[:12]}"
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
    yield url.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.exec_driver_sql(f'DROP DATABASE "{name}" WITH (FORCE)')
    admin.dispose()


class Servers:
    """Starts servers one after the other over one workspace's folder."""

    def __init__(self, folder: Path, database_url: str | None) -> None:
        self.folder = folder
        self._database = ["--database", database_url] if database_url else []
        self._process: subprocess.Popen[str] | None = None

    def start(self, later_migrations: Path | None = None) -> None:
        """This version, or one with these migrations after its own; returns when it serves."""
        process = self._process = self._started(later_migrations)
        assert process.stdout is not None
        if "serves" not in process.stdout.readline():
            raise AssertionError(process.communicate()[1])

    def refused(self, later_migrations: Path | None = None) -> tuple[int, str]:
        """Exit code and words of a server that does not open the home."""
        process = self._started(later_migrations)
        _, said = process.communicate(timeout=180)
        return process.returncode, said

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.communicate(timeout=180)

    def _started(self, later_migrations: Path | None) -> "subprocess.Popen[str]":
        later = [str(NEXT_SERVER), str(later_migrations)] if later_migrations else ["-m", "runyard_server"]
        return subprocess.Popen(
            [sys.executable, *later, "--home", str(self.folder), *self._database],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )


@pytest.fixture
def servers(home: Path, database_url: str | None) -> Iterator[Servers]:
    """Servers of the workspace ``kept``."""
    folder = home / "workspaces" / story.WORKSPACE
    folder.mkdir(parents=True, mode=0o700)
    servers = Servers(folder, database_url)
    yield servers
    servers.stop()
