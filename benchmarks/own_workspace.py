"""Workspaces of our own in the scratch folder, each with its server, stopped afterwards."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measurement import Bench

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
        embedded.stop(home.workspace_folder(NAME))
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def own_workspace(bench: Bench) -> Iterator["Workspace"]:
    """A new embedded workspace whose server runs."""
    from runyard import Workspace

    with own_home(bench):
        yield Workspace.create(NAME, show_output=False)


def this_python(variables: dict[str, str] | None = None) -> "Environment":
    """A user-managed environment: the interpreter that measures, so that there is nothing to prepare."""
    from runyard import Environment

    environment = Environment("this-python")
    environment.python.user_managed_dependencies = True
    environment.python.interpreter_path = sys.executable
    environment.environment_variables = variables or {}
    return environment
