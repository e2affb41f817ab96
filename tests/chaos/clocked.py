"""A server in this process, whose clock a test moves: hours pass at once, and go back."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from runyard import home as places
from runyard_server.app import build
from runyard_server.settings import load, secrets_of
from runyard_server.testing.clock import FakeClock
from tests.chaos.holds import eventually


@contextmanager
def clocked_server(folder: Path) -> Iterator[FakeClock]:
    """Serves the workspace in ``folder``, whose own server must be stopped, for as long as the block lasts."""
    clock = FakeClock()
    settings = load(str(folder), os.environ, embedded=True)
    secrets = secrets_of(folder)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = build(settings, secrets, lambda: url, clock)
        web = uvicorn.Server(uvicorn.Config(server.app, ws="none", lifespan="off", log_level="warning"))
        web.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        serving = threading.Thread(target=web.run, kwargs={"sockets": [listener]}, name="web")
        server.start()
        serving.start()
        try:
            eventually(lambda: web.started, "a server that listens")
            said = {"url": url, "token": secrets.token, "pid": os.getpid(), "instance": server.services.instance}
            places.write_json(str(settings.server_file), said, private=True)
            yield clock
        finally:
            settings.server_file.unlink(missing_ok=True)  # first: whoever stops a server by it would stop the tests
            web.should_exit = True
            serving.join()
            server.close()
