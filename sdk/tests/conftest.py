"""Fixtures that join the SDK with a real server's routes, without a socket."""

import pytest


@pytest.fixture
def file_server(tmp_path):
    """A server's routes of bytes over a folder (skips where the server's package is not installed)."""
    module = pytest.importorskip("runyard_server.testing.file_server", reason="the server needs Python 3.11")
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
