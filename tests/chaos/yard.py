"""A world to break: a home of its own with a real server, real jobs and real scripts, and the means to kill each."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runyard import AmlCompute, ComputeTarget, Environment, Experiment, ScriptRunConfig, Workspace, embedded
from runyard import home as places
from runyard.experiment import sent_spec
from runyard.job import processes
from runyard.protocol.codec import to_json
from runyard.protocol.status import RunStatus
from runyard.run import Run
from tests.chaos import leftovers
from tests.chaos.holds import PATIENCE_S, Gate, eventually
from tests.chaos.judge import verdict

JUDGE = Path(__file__).parent / "judge"
ROOT = Path(__file__).parents[2]
HEAD = """import os, sys
from witness import Witness
sys.stdout.reconfigure(encoding="utf-8")
w = Witness({!r})
"""


class Yard:
    """One home below ``root`` with one workspace.

    The variables of this process must be ``variables`` while the yard is in use; the fixture ``yard`` sees to that.
    Whatever is called on a run starts the server where none is there: that is a person's next look.

    Attributes:
        home: ``RUNYARD_HOME``.
        folder: of the workspace: ``server.json``, ``runs/``, ``objects/`` ...
        cache: of the packages that uv has fetched, this yard's own.
        temporary: the system's folder for temporary files, as every process of this yard finds it.
    """

    def __init__(self, root: Path, name: str = "yard") -> None:
        self.root = root
        self.home = root / "home"
        self.name = name
        self.folder = self.home / "workspaces" / name
        self.cache = root / "uv-cache"
        self.temporary = root / "tmp"
        self.temporary.mkdir(exist_ok=True)
        self._made = 0
        self._clients: list[subprocess.Popen[bytes]] = []
        self._workspace: Workspace | None = None

    @property
    def variables(self) -> dict[str, str]:
        temporary = str(self.temporary)
        return {"RUNYARD_HOME": str(self.home), "UV_CACHE_DIR": str(self.cache), "TMPDIR": temporary}

    @property
    def workspace(self) -> Workspace:
        if self._workspace is None:
            assert os.environ["RUNYARD_HOME"] == str(self.home)
            self._workspace = Workspace.create(self.name, exist_ok=True, show_output=False)
        return self._workspace

    # Submitting

    def witness_folder(self) -> Path:
        """A new folder for a script's journals and gates, outside of the home."""
        self._made += 1
        folder = self.root / f"witness-{self._made}"
        folder.mkdir(parents=True)
        return folder

    def source(self, script: str, witness: Path) -> Path:
        """A folder to submit: ``train.py`` is ``script`` with ``w``, its ``Witness``, at hand."""
        folder = witness / "source"
        folder.mkdir()
        (folder / "train.py").write_text(HEAD.format(str(witness)) + script)
        (folder / "witness.py").write_bytes((JUDGE / "witness.py").read_bytes())
        return folder

    def submit(
        self,
        script: str,
        witness: Path | None = None,
        run_id: str | None = None,
        packages: Sequence[str] | None = None,
        **config: Any,
    ) -> Run:
        """Submits ``script`` (see ``source``); needs its ``witness`` folder only where that is asked for evidence.

        Args:
            run_id: the run's id, chosen beforehand.
            packages: lines of a requirements file: an environment that must be built; None: this very Python.
            config: of the ScriptRunConfig.
        """
        source = self.source(script, witness or self.witness_folder())
        config.setdefault("environment", environment(packages))
        experiment = Experiment(self.workspace, "chaos")
        settings = ScriptRunConfig(str(source), "train.py", **config)
        if run_id is None:
            return experiment.submit(settings)
        spec = dict(to_json(sent_spec(experiment, settings, None)), id=run_id)
        said = self.workspace.transport.call("POST", "/runs", json=spec)
        return Run(experiment, said["id"])

    def submit_from_a_client(
        self, script: str, witness: Path, packages: Sequence[str] | None = None, target: str | None = None
    ) -> tuple[Run, int]:
        """As ``submit``, by a process of its own that then follows the run; gives its pid too."""
        config = {"arguments": [], "packages": packages, "target": target}
        with open(witness / "client.log", "wb") as log:
            client = subprocess.Popen(
                [sys.executable, str(JUDGE / "client.py"), self.name, self.source(script, witness), json.dumps(config)],
                stdout=subprocess.PIPE,
                stderr=log,
                env=with_path(),
            )
        assert client.stdout is not None
        run_id = client.stdout.readline().decode().strip()
        assert run_id, (witness / "client.log").read_text()
        # Its output is not read on: it follows with a pipe that fills, as under a closed terminal window.
        self._clients.append(client)
        return self.run(run_id), client.pid

    def target(self, name: str, max_nodes: int = 1) -> ComputeTarget:
        """A compute target for ``max_nodes`` nodes."""
        config = AmlCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", max_nodes=max_nodes)
        return ComputeTarget.create(self.workspace, name, config)

    def run(self, run_id: str) -> Run:
        """The run as a client sees it that knows its id alone."""
        return Run(Experiment(self.workspace, "chaos"), run_id)

    # Looking

    def until(self, run: Run, status: str) -> None:
        """Waits until the run has the status."""
        eventually(lambda: run.get_status() == status, f"{run.id} in {status}")

    def look(self, run: Run) -> float:
        """The next look after nobody could look; the monotonic moment at which it was answered.

        The start of a server is not counted: docs/benchmarks.md has that.
        """
        run._refresh()
        return time.monotonic()

    def end_of(self, run: Run, since: float | None = None, within_s: float = PATIENCE_S) -> float:
        """Waits for the run's last status; seconds until it was seen, ``since`` a monotonic moment (default: now)."""
        began = time.monotonic() if since is None else since

        def over() -> bool:
            return RunStatus(run.get_status()).is_terminal

        eventually(over, f"the end of {run.id}", within_s)
        return time.monotonic() - began

    def cause(self, run: Run) -> dict[str, Any]:
        """The error of a run that failed: ``code``, ``message``, ``rank``, ``signal`` ..."""
        record = run._refresh()
        assert record["error"], f"{run.id} is {record['status']} without an error"
        return dict(record["error"])

    def story(self, run: Run) -> list[str]:
        """Its statuses from the first to the present one."""
        return [event["to_status"] for event in run._call("GET", "events")]

    # Victims

    @property
    def server_pid(self) -> int | None:
        """The server that lives now; None where none does. Starts none."""
        said = places.read_json(str(self.folder / "server.json"))
        return said["pid"] if said and processes.is_alive(said["pid"]) else None

    def job_pid(self, run: Run, node: int = 0) -> int:
        """The job's process, once it was started."""

        def handle() -> dict[str, Any] | None:
            return places.read_json(str(self.node_folder(run, node) / "handle.json"))

        return int(eventually(handle, f"a job of {run.id}")["handle"]["job_id"].split("/")[0])

    def node_folder(self, run: Run, node: int = 0) -> Path:
        """The job's directory: ``code/``, ``spool/``, ``logs/``, ``handle.json``."""
        return self.folder / "runs" / run.id / "attempt-1" / f"node-{node}"

    def script_pid(self, run: Run, rank: int = 0, node: int = 0) -> int:
        """The rank's process."""
        for pid in processes.processes_of(processes.marker_of(run.id, 1, node)):
            process = processes.look_up(pid)
            variables = _variables(pid)
            if process and process.session == pid and variables.get("RUNYARD_RUN_RANK") == str(rank):
                return pid
        raise AssertionError(f"no rank {rank} of {run.id} runs")

    def start_server(self, command: Sequence[str]) -> "subprocess.Popen[bytes]":
        """Starts a server of another kind than clients start, in the place of any, and waits until it answers."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        embedded.stop(str(self.folder))
        with open(self.folder / "server.log", "ab") as log:
            server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=with_path())
        eventually(lambda: embedded.running(str(self.folder)), "an answer of the server")
        return server

    def kill(self, *pids: int) -> float:
        """``kill -9``; gives the monotonic moment. Returns when the kernel has ended them all."""
        at = time.monotonic()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not any(processes.is_alive(pid) for pid in pids), f"the end of {pids}")
        return at

    def kill_server(self) -> float:
        pid = self.server_pid
        assert pid is not None, "no server runs"
        return self.kill(pid)

    def kill_everything(self) -> float:
        """Every process of this home at once, as a machine that loses its power does."""
        at = time.monotonic()

        def nobody() -> bool:
            left = leftovers.processes_of(self.home)
            for pid in left:
                processes.send(pid, signal.SIGKILL)
            return not left

        eventually(nobody, "the end of every process")
        return at

    def reap_clients(self) -> None:
        """Buries the clients that were killed."""
        for client in self._clients:
            assert client.stdout is not None
            client.stdout.close()
            client.wait()
        self._clients.clear()

    # Afterwards

    def left_behind(self, kept: Iterable[str] = ()) -> list[str]:
        """What is left though every run has ended, in words; ``kept`` names paths that may be there."""
        server = self.server_pid
        own = leftovers.standing_by(server) | ({server} if server is not None else set())
        others = {pid: text for pid, text in leftovers.processes_of(self.home).items() if pid not in own}
        found = [f"process {pid}: {command}" for pid, command in others.items()]
        found += [f"port {port}" for port in sorted(leftovers.listening_ports(set(others)))]
        for lock in leftovers.held_locks(self.home):
            if server is None or lock.name != "server.lock":
                found.append(f"lock {lock}")
        strays = leftovers.stray_files(self.home, is_served=server is not None)
        found += [f"temporary file {path}" for path in leftovers.temporary_files(self.temporary)]
        return found + [f"file {path}" for path in strays if not str(path).startswith(tuple(kept))]

    def assert_nothing_is_left(self, kept: Iterable[str] = ()) -> None:
        """No process, port, lock or temporary file. A job may say goodbye for a moment: that is waited for."""
        found: list[str] = []

        def is_clean() -> bool:
            found[:] = self.left_behind(kept)
            return not found

        eventually(is_clean, lambda: "a clean home; left behind:\n" + "\n".join(found))

    def assert_the_next_run_works(self) -> None:
        witness = self.witness_folder()
        run = self.submit("w.lines(3); w.points(3); w.file('outputs/next')\n", witness)
        self.end_of(run)
        assert run.get_status() == "Completed", run.get_details()
        verdict.judge(run, witness)

    def begin_anew(self) -> None:
        """Ends everything and empties the home."""
        self.kill_everything()
        self.reap_clients()
        shutil.rmtree(self.home)
        for path in self.temporary.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self._workspace = None

    def close(self) -> None:
        """Stops the server; nothing may be left then, not even what a server may keep."""
        self.reap_clients()
        embedded.stop(str(self.folder))
        self.assert_nothing_is_left()


def environment(packages: Sequence[str] | None) -> Environment:
    """One that must be built of these lines; None: the interpreter of the tests as it is."""
    made = Environment("chaos")
    if packages is None:
        made.python.user_managed_dependencies = True
        made.python.interpreter_path = sys.executable
    else:
        made.python.conda_dependencies.set_pip_requirements(list(packages))
    return made


def gates(witness: Path, name: str, ranks: int = 1) -> list[Gate]:
    """One gate per rank."""
    return [Gate(witness, name, rank) for rank in range(ranks)]


def with_path() -> dict[str, str]:
    """The variables of this process, for one that imports what the tests import."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _variables(pid: int) -> Mapping[str, str]:
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    return dict(os.fsdecode(entry).partition("=")[::2] for entry in entries)
