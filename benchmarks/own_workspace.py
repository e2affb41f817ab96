"""Workspaces of our own in the scratch folder, each with its server, stopped afterwards."""

import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measurement import Bench
from benchmarks.peers import process_group

if TYPE_CHECKING:
    from runyard import Environment, Workspace

NAME = "benchmark"


@contextmanager
def own_home(bench: Bench) -> Iterator[Path]:
    """A home in which nothing is yet; the server of the workspace made there is stopped at the end."""
    from runyard import embedded, home

    root = bench.folder("runyard")
    before = dict(os.environ)
    os.environ.pop("RUNYARD_SERVER", None)
    os.environ["RUNYARD_HOME"] = str(root)
    try:
        yield Path(home.workspace_folder(NAME))
    finally:
        embedded.stop(home.workspace_folder(NAME))
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def own_workspace(bench: Bench, database: str = "") -> Iterator["Workspace"]:
    """A new embedded workspace whose server runs, on SQLite or on the database of a URL."""
    from runyard import Workspace

    if bench.workspace is not None and not database:
        yield bench.workspace
        return
    with own_home(bench) as folder, _server_on(folder, database) if database else nullcontext():
        yield Workspace.create(NAME, show_output=False)


@contextmanager
def _server_on(folder: Path, database: str) -> Iterator[None]:
    """A server that clients of ``folder`` find running, with its records in ``database``."""
    from runyard import embedded

    folder.mkdir(parents=True, mode=0o700)
    command = [sys.executable, "-m", "runyard_server", "--home", str(folder), "--database", database]
    with (folder / "server.log").open("wb") as log, process_group(command, folder, os.environ, log) as process:
        while embedded.running(str(folder)) is None:
            if process.poll() is not None:
                raise RuntimeError((folder / "server.log").read_text())
            time.sleep(0.02)
        yield


@contextmanager
def own_postgres(url: str) -> Iterator[str]:
    """The URL of a new database on the PostgreSQL server of ``url``, dropped afterwards."""
    from sqlalchemy import create_engine, make_url

    name = f"runyard_benchmark_{secrets.token_hex(6)}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
        try:
            yield make_url(url).set(database=name).render_as_string(hide_password=False)
        finally:
            connection.exec_driver_sql(f'DROP DATABASE "{name}" WITH (FORCE)')
    engine.dispose()


def this_python(variables: dict[str, str] | None = None) -> "Environment":
    """A user-managed environment: the interpreter that measures, so that there is nothing to prepare."""
    from runyard import Environment

    environment = Environment("this-python")
    environment.python.user_managed_dependencies = True
    environment.python.interpreter_path = sys.executable
    environment.environment_variables = variables or {}
    return environment
