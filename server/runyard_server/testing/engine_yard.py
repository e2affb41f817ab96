"""A workspace whose server stands in a cluster's network, for tests of the whole on a real engine."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runyard import ComputeTarget, Environment, Experiment, ScriptRunConfig, Workspace, embedded
from runyard import home as places
from runyard.run import Run

PATIENCE_S = 240.0  # an engine takes its time, and a machine that runs other tests too

_A_MOMENT = threading.Event()  # never set: engines are outside, all that one can do is look again


class EngineYard:
    """A workspace with an engine's nodes as its compute target "cluster". Made and used inside the engine's network.

    Args:
        address: of the server, as the nodes reach it.
        make_target: makes the compute target of that workspace.
        port: of the server.
        public_url: where the nodes are told that the server is; "" for where it is.
    """

    patience_s = PATIENCE_S

    def __init__(
        self,
        address: str,
        name: str,
        make_target: Callable[[Workspace], ComputeTarget],
        port: int = 8000,
        public_url: str = "",
    ) -> None:
        self._address = address
        self._public_url = public_url
        self._port = port
        self.folder = places.workspace_folder(name)
        self.server = self.start_server()
        self.workspace = Workspace.create(name, exist_ok=True, show_output=False)
        self.compute = make_target(self.workspace)

    def start_server(self) -> "subprocess.Popen[bytes]":
        """A server that the nodes reach; returns once it answers."""
        command = [sys.executable, "-m", "runyard_server", "--home", self.folder]
        command += ["--host", self._address, "--plain-http", "--port", str(self._port)]
        command += ["--public-url", self._public_url] if self._public_url else []
        paths = os.pathsep.join(path for path in sys.path if path)
        server = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.DEVNULL)
        self.until(lambda: embedded.running(self.folder) is not None, "the server")
        return server

    def kill_server(self) -> None:
        self.server.kill()
        self.server.wait()

    def submit(self, source: Path, text: str, environment: Environment, **config: Any) -> Run:
        source.mkdir()
        (source / "train.py").write_text(text)
        config = {"compute_target": "cluster", "environment": environment, **config}
        run: Run = Experiment(self.workspace, "tests").submit(ScriptRunConfig(str(source), "train.py", **config))
        return run

    def why(self, run: Run) -> str:
        return str(self.workspace.transport.call("GET", f"/runs/{run.id}/why")["reason"])

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + self.patience_s
        while not is_so():
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            _A_MOMENT.wait(0.1)

    def end(self, run: Run) -> dict[str, Any]:
        """The run's details once it has ended."""
        deadline = time.monotonic() + self.patience_s
        while run.get_status() not in ("Completed", "Failed", "Canceled"):
            assert time.monotonic() < deadline, f"{run.id} does not end ({run.get_status()}): {self.why(run)}"
            _A_MOMENT.wait(0.1)
        return dict(run.get_details())

    def error(self, run: Run) -> dict[str, Any]:
        """The cause of a failure, once the run has failed."""
        assert self.end(run)["status"] == "Failed", self.end(run)
        return dict(run._refresh()["error"])

    def close(self) -> None:
        self.workspace.transport.close()
        self.server.terminate()
        self.server.wait()
