"""A workspace with its server, for crowds of client processes.

What only real processes can show is that they hold together: the server's threads, SQLite's one writer, the lifecycle
and clients that share nothing.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runyard import Workspace, embedded
from runyard import home as places

sys.path.append(str(Path(__file__).parents[2]))  # `tests.crowds` is imported from wherever pytest is called

from tests.crowds.crowd import Crowd


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Crowd]:
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("RUNYARD_HOME", str(tmp_path_factory.mktemp("home")))
        environ.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        environ.delenv("RUNYARD_SERVER", raising=False)
        workspace = Workspace.create("crowds", show_output=False)
        yield Crowd(workspace, tmp_path_factory.mktemp("crowd"))
        for name in places.workspace_names():
            embedded.stop(places.workspace_folder(name))


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A pipe that a script waits at until something is written."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path
