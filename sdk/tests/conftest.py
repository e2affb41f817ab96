"""Fixtures that join the SDK with a real server's routes, without a socket."""

import functools
import http.server
import importlib.util
import sys
import threading

import pytest

SERVER_PYTHON = (3, 11)


def pytest_collection_modifyitems(config, items):
    """What is no test here: under an older Python those of the server, without pandas those that read tables.

    tests/architecture/test_tables.py runs the latter, with a new and an old pandas.
    """
    without = set() if sys.version_info >= SERVER_PYTHON else {"file_server"}
    if importlib.util.find_spec("pandas") is None:
        without.add("pandas")
    beyond = [item for item in items if without.intersection(item.fixturenames)]
    if not beyond:
        return
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


@pytest.fixture
def pandas():
    """The pandas of this Python: a table is read with the caller's own."""
    return importlib.import_module("pandas")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def web(tmp_path):
    """A folder that this process serves: ``web.folder`` at ``web.address``."""
    folder = tmp_path / "web"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    server.folder, server.address = folder, "http://127.0.0.1:{}/".format(server.server_port)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
