"""Servers on fresh workspaces, one after another in this process: a line in asks for one, and ends the one before.

A process each would import everything anew for each of MLflow's tests.
"""

import asyncio
import json
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn

from runyard.protocol.files import FileEntry, Manifest
from runyard.protocol.runs import InteractiveRunSpec
from runyard_server.app import Server, build
from runyard_server.settings import Settings, secrets_of


async def _weights() -> AsyncIterator[bytes]:
    yield b"weights"


class Yard:
    """A server over a home of its own."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="mlflow-suite-"))
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.token = secrets_of(self.home).token
        # Never started: the tests submit nothing, and what MLflow's clients make needs no lifecycle.
        self.server: Server = build(Settings(home=self.home), secrets_of(self.home), lambda: self.url)
        # MLflow keeps any source as a text; the runs and files that the tests name must be here, in MLflow's Default.
        held = self.server.services
        digest, size = asyncio.run(held.objects.take(_weights(), None))
        for run_id, names in (("run_id", ("model", "another_model")), ("run_id_2", ("a/b/c",))):
            held.runs.start_interactive(InteractiveRunSpec(experiment="Default", id=run_id), "suite", beats=False)
            files = [FileEntry(f"{name}/weights.bin", size, digest) for name in names]
            held.files.commit(run_id, Manifest(files))
        self._web = uvicorn.Server(
            uvicorn.Config(self.server.app, ws="none", lifespan="off", log_level="warning", timeout_graceful_shutdown=2)
        )
        self._thread = threading.Thread(target=self._web.run, kwargs={"sockets": [listener]})
        self._thread.start()

    def end(self) -> None:
        """Stops it and removes its home."""
        self._web.should_exit = True
        self._thread.join()
        self.server.close()
        shutil.rmtree(self.home)


def main() -> None:
    """Serves until there are no more lines."""
    yard: Yard | None = None
    for _ in sys.stdin:
        if yard is not None:
            yard.end()
        yard = Yard()
        print(json.dumps({"url": yard.url, "token": yard.token}), flush=True)
    if yard is not None:
        yard.end()


if __name__ == "__main__":
    main()
