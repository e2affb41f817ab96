"""A workspace whose server stands in a cluster's network, for tests of the whole on a real engine."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from runyard import ComputeTarget, Environment, Experiment, ScriptRunConfig, Workspace, embedded
from runyard import home as places
from runyard.job import processes
from runyard.run import Run
from runyard_server.testing.left_behind import left_of, until_gone

PATIENCE_S = 240.0  # an engine takes its time, and a machine that runs other tests too

_A_MOMENT = threading.Event()  # never set: engines are outside, all that one can do is look again


class EngineYard:
    """A workspace with an engine's nodes as its compute target "cluster". Made and used inside the engine's network.

    Args:
        address: of the server, as the nodes reach it.
        make_target: makes the compute target of that workspace.
        port: of the server.
        public_url: where the nodes are told that the server is; "" for where it is. A server that is started later is
            given what this attribute says then.
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
        self.public_url = public_url
        self._port = port
        self.folder = places.workspace_folder(name)
        self.server = self.start_server()
        self.workspace = Workspace.create(name, exist_ok=True, show_output=False)
        self.compute = make_target(self.workspace)

    def start_server(self) -> "subprocess.Popen[bytes]":
        """A server that the nodes reach; returns once it answers."""
        command = [sys.executable, "-m", "runyard_server", "--home", self.folder]
        command += ["--host", self._address, "--plain-http", "--port", str(self._port)]
        command += ["--public-url", self.public_url] if self.public_url else []
        paths = os.pathsep.join(path for path in sys.path if path)
        server = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.DEVNULL)
        self.until(lambda: embedded.running(self.folder) is not None, "the server")
        return server

    def kill_server(self) -> None:
        self.server.kill()
        self.server.wait()

    def submit(
        self, source: Path, text: str, environment: Environment, gpus_per_node: int | None = None, **config: Any
    ) -> Run:
        source.mkdir()
        (source / "train.py").write_text(text)
        config = {"compute_target": "cluster", "environment": environment, **config}
        settings = ScriptRunConfig(str(source), "train.py", **config)
        settings.run_config.gpus_per_node = gpus_per_node
        run: Run = Experiment(self.workspace, "tests").submit(settings)
        return run

    @contextmanager
    def submitting(self, folder: Path, environment: Environment, **usual: Any) -> Iterator[Callable[..., Run]]:
        """What submits a script given as text, each with its source below ``folder``; all is cancelled at the end.

        Args:
            environment: of a run whose own is not said.
            usual: what else a run has of which nothing else is said.
        """
        sources = (folder / f"source-{number}" for number in count())
        made: list[Run] = []

        def submit(text: str, environment: Environment = environment, **config: Any) -> Run:
            made.append(self.submit(next(sources), text, environment, **{**usual, **config}))
            return made[-1]

        yield submit
        for run in made:
            run.cancel()
        for run in made:
            self.end(run)

    def shown(self, target: str) -> str:
        """What ``runyard compute show`` prints of a compute target."""
        command = [sys.executable, "-m", "runyard", "--workspace", self.workspace.name, "compute", "show", target]
        paths = os.pathsep.join(path for path in sys.path if path)
        environment = {**os.environ, "PYTHONPATH": paths, "COLUMNS": "400"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    def why(self, run: Run) -> str:
        return str(self.workspace.transport.call("GET", f"/runs/{run.id}/why")["reason"])

    def log(self, run: Run, name: str) -> str:
        """What a log holds by now; "" where no job has begun it yet."""
        return run._read_log(name) if name in run._log_names() else ""

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

    def kill(self, run: Run, is_it: Callable[[list[str]], bool]) -> None:
        """``kill -9`` of the run's processes whose command line is so."""
        for pid in left_of(run.id):
            if is_it(processes.command_of(pid)):
                os.kill(pid, signal.SIGKILL)

    def until_gone(self, *runs: Run) -> None:
        """Looks until nothing is left of runs that have ended."""
        for run in runs:
            until_gone(run.id)

    def close(self) -> None:
        self.workspace.transport.close()
        self.server.terminate()
        self.server.wait()
