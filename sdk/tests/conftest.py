"""Fixtures that join the SDK with a real server's routes, without a socket."""

import sys

import pytest

SERVER_PYTHON = (3, 11)


def pytest_collection_modifyitems(config, items):
    """Under an older Python these are no tests: the server that they need has no package for it."""
    if sys.version_info >= SERVER_PYTHON:
        return
    beyond = [item for item in items if "file_server" in item.fixturenames]
    config.hook.pytest_deselected(items=beyond)
    items[:] = [item for item in items if item not in beyond]


@pytest.fixture
def file_server(tmp_path):
    """A server's routes of bytes over a folder."""
    from runyard_server.testing import file_server as module

    (tmp_path / "server").mkdir()
    (tmp_path / "allowed").mkdir()
    server = module.FileServer(tmp_path / "server", allowed_roots=(tmp_path / "allowed",))
    yield server
    server.close()


@pytest.fixture
def transport(file_server, tmp_path, monkeypatch):
    """A transport to ``file_server``; what the client remembers lies in the test's folder."""
    from runyard.transport.memory import MemoryTransport

    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "home"))
    transport = MemoryTransport(file_server.app)
    yield transport
    transport.close()


@pytest.fixture
def far(file_server, tmp_path, monkeypatch):
    """The same from another machine: nothing can be handed over, bytes are sent."""
    from runyard.transport.memory import MemoryTransport

    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "home"))
    transport = MemoryTransport(file_server.app, client="192.0.2.7")
    yield transport
    transport.close()
