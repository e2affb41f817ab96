"""Jobs as processes of this machine, each the leader of its own session.

A job outlives the server that started it. Whoever observes it later knows it by pid, start time and
boot, and how it ended from ``exit.json`` in its directory, which the job writes last.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runyard.job import processes
from runyard.protocol.codec import from_json, to_json
from runyard_server.executors.base import (
    Ability,
    Executor,
    Inventory,
    JobHandle,
    JobObservation,
    JobPlan,
    JobRequest,
    JobState,
    NodePlan,
    StartFailedError,
)
from runyard_server.executors.gpus import GpuInventory
from runyard_server.executors.identity import Identity
from runyard_server.executors.standby import Standby, hand_over

# The kernel's letters for a process that has not ended; any other letter, or no process, is the end.
ENGINE_STATES = dict.fromkeys("RSDTtIPKW", JobState.RUNNING)

# The job needs the standard library and runyard alone: no site packages, no current folder on its path.
JOB = [sys.executable, "-S", "-P", "-m", "runyard.job"]

EXIT_FILE = "exit.json"
HANDLE_FILE = "handle.json"
LOG_FILE = "job.log"

_STANDBY_DELAY_S = 0.2
_REMEMBERED = 4096
_TAIL_BYTES = 2000
# What belongs to the server's own interpreter or run and would mislead another one.
_NOT_INHERITED = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
_NOT_INHERITED_PREFIXES = ("RUNYARD_", "AZUREML_")


class LocalExecutor(Executor):
    """Starts jobs on this machine.

    Args:
        sdk_path: folder that holds the package ``runyard``: the standby's PYTHONPATH. Without it
            (None) no process stands by and every job is started cold.
        gpus: the host's GPUs; None reads them with NVIDIA's library.
        standby_argv: the command that stands by; by default the job's with ``--standby``.
        standby_count: how many of it.
    """

    name = "local"
    abilities = frozenset({Ability.MULTI_NODE, Ability.GPUS, Ability.SHARED_FOLDER, Ability.ONE_HOST})

    def __init__(
        self,
        sdk_path: str | None = None,
        gpus: GpuInventory | None = None,
        standby_argv: list[str] | None = None,
        standby_count: int = 1,
    ) -> None:
        self._sdk_path = sdk_path
        self._gpus = gpus or GpuInventory()
        self._lock = threading.RLock()
        self._over: dict[JobHandle, JobObservation] = {}
        self._reaped: dict[Identity, int] = {}  # exit codes by process, until they are observed
        self._standby: Standby | None = None
        if sdk_path is not None:
            argv = standby_argv or [*JOB, "--standby"]
            self._standby = Standby(argv, lambda: {**inherited(os.environ), "PYTHONPATH": sdk_path}, standby_count)

    def prepare(self) -> None:
        """Starts the process that stands by, where there is one; called once when a server starts."""
        if self._standby is not None:
            self._standby.prepare()

    @property
    def standby_pid(self) -> int | None:
        """The process that stands by now."""
        return None if self._standby is None else self._standby.pid

    def plan(self, request: JobRequest) -> JobPlan:
        nodes = []
        for assignment in request.assignments:
            env = processes.node_environment(request.run_id, request.attempt, assignment.node, assignment.gpus)
            env["PYTHONPATH"] = assignment.sdk_path
            argv = list(request.argv or JOB)
            nodes.append(NodePlan(assignment.directory, argv, env, assignment, list(assignment.gpus)))
        return JobPlan(request.run_id, request.attempt, nodes)

    def start(self, plan: JobPlan) -> list[JobHandle]:
        started: list[JobHandle] = []
        try:
            for node in plan.nodes:
                started.append(self._start_node(node))
        except OSError as error:
            self.cancel(started, firmly=True)
            for handle in started:
                Path(handle.directory, HANDLE_FILE).unlink(missing_ok=True)
            raise StartFailedError(
                f"Node {len(started)} of run {plan.run_id} could not be started: {error}. "
                "Look at the folder's permissions, the free disk and the limit of processes (ulimit -u)."
            ) from error
        finally:
            if self._standby is not None:
                self._prepare_later()
        return started

    def observe(self, handles: Iterable[JobHandle]) -> dict[JobHandle, JobObservation]:
        return {handle: self._observe(handle) for handle in handles}

    def cancel(self, handles: Sequence[JobHandle], firmly: bool) -> None:
        for handle in handles:
            identity = Identity.parse(handle.job_id)
            if firmly:
                processes.kill_group(_marker(handle), _leader(identity))
            elif self._state(identity) is not None:
                processes.send(identity.pid, signal.SIGTERM)

    def inventory(self) -> Inventory:
        return Inventory(nodes=None, cpus=usable_cpus(), gpus=self._gpus.read())

    def close(self) -> None:
        if self._standby is not None:
            self._standby.close()

    def _prepare_later(self) -> None:
        # Not at once: its imports would take the processor from the script that has just been started.
        timer = threading.Timer(_STANDBY_DELAY_S, self._prepare_next)
        timer.name, timer.daemon = "runyard-standby", True
        timer.start()

    def _prepare_next(self) -> None:
        try:
            self.prepare()
        except OSError:
            return  # the next job starts cold, and says why if that fails too

    # Starting

    def _start_node(self, plan: NodePlan) -> JobHandle:
        directory = Path(plan.directory)
        if directory.exists():
            found = self._started_before(plan)
            if found is not None:
                return found
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        Path(directory, EXIT_FILE).unlink(missing_ok=True)  # of the job whose leavings this one salvages
        return self._start_warm(plan) or self._start_cold(plan)

    def _started_before(self, plan: NodePlan) -> JobHandle | None:
        """The job of an earlier ``start`` whose answer got lost."""
        assignment = plan.assignment
        wanted = (assignment.run_id, assignment.attempt, assignment.node, assignment.salvage)
        written = _read_json(Path(plan.directory, HANDLE_FILE))
        if written is not None:
            handle = from_json(JobHandle, written["handle"])
            if (handle.run_id, handle.attempt, handle.node, written["salvage"]) == wanted:
                return handle
        if assignment.salvage:
            return None  # what runs of the lost job is a leftover, and the salvage ends it
        for pid in processes.processes_of(processes.marker_of(*wanted[:3])):
            process = processes.look_up(pid)
            leads = process is not None and process.session == pid and process.is_alive
            if leads and processes.command_of(pid) == plan.argv:
                return self._write_handle(plan, pid)
        return None

    def _start_warm(self, plan: NodePlan) -> JobHandle | None:
        if self._standby is None or plan.argv != JOB or plan.assignment.sdk_path != self._sdk_path:
            return None
        process = self._standby.take()
        if process is None:
            return None
        handle = self._write_handle(plan, process.pid)  # before it begins: a job without handle could not be found
        if not hand_over(process, _line(plan)):
            Path(plan.directory, HANDLE_FILE).unlink()
            return None
        _detach(process)
        return handle

    def _start_cold(self, plan: NodePlan) -> JobHandle:
        with (
            tempfile.TemporaryFile(
                dir=plan.directory
            ) as line,  # a file, not a pipe: nobody has to read it for us to go on
            open(os.open(Path(plan.directory, LOG_FILE), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log,
        ):
            line.write(_line(plan))
            line.seek(0)
            process = subprocess.Popen(
                plan.argv,
                stdin=line,
                stdout=log,
                stderr=log,
                cwd=plan.directory,
                env={**inherited(os.environ), **plan.env},
                start_new_session=True,
            )
        _detach(process)
        return self._write_handle(plan, process.pid)

    def _write_handle(self, plan: NodePlan, pid: int) -> JobHandle:
        assignment = plan.assignment
        handle = JobHandle(
            self.name, assignment.run_id, assignment.attempt, assignment.node, plan.directory, str(Identity.of(pid))
        )
        _write_json(Path(plan.directory, HANDLE_FILE), {"handle": to_json(handle), "salvage": assignment.salvage})
        return handle

    # Observing

    def _observe(self, handle: JobHandle) -> JobObservation:
        identity = Identity.parse(handle.job_id)
        with self._lock:
            known = self._over.get(handle)
            if known is not None:
                return known
            state = self._state(identity)
            if state is not None:
                return JobObservation(state)
            seen = self._bury(handle, identity)
            while len(self._over) >= _REMEMBERED:
                del self._over[next(iter(self._over))]
            self._over[handle] = seen
            return seen

    def _bury(self, handle: JobHandle, identity: Identity) -> JobObservation:
        """Ends what the job left behind, then reads how it ended."""
        # While nobody has reaped it, its pid and session are still its own.
        processes.kill_group(_marker(handle), _leader(identity))
        code = self._reap(identity)
        end = _read_json(Path(handle.directory, EXIT_FILE))
        if code is not None:
            exit_code, name = (code, None) if code >= 0 else (None, _signal_name(-code))
            if end is None:  # so that a later server knows it too
                _write_json(Path(handle.directory, EXIT_FILE), {"exit_code": exit_code, "signal": name})
        elif end is not None:
            exit_code, name = end.get("exit_code"), end.get("signal")
        else:
            message = f"The job process {identity.pid} of node {handle.node} is gone and left no word of how it ended."
            return JobObservation(JobState.LOST, message=message + _tail(handle))
        if exit_code == 0:
            return JobObservation(JobState.ENDED, exit_code=0)
        how = f"was ended by {name}" if name else f"ended with exit code {exit_code}"
        return JobObservation(
            JobState.ENDED, exit_code, name, f"The job process of node {handle.node} {how}.{_tail(handle)}"
        )

    def _state(self, identity: Identity) -> JobState | None:
        """Its present state, None if it has ended."""
        if processes.has_process_table():
            process = identity.look_up()
            return None if process is None else ENGINE_STATES.get(process.state)
        code = self._reap(identity)  # without a table an ended child shows in no other way
        if code is not None:
            self._reaped[identity] = code
        return JobState.RUNNING if code is None and processes.is_alive(identity.pid) else None

    def _reap(self, identity: Identity) -> int | None:
        """The exit code as ``subprocess`` counts it (negative: a signal); None if it is no child of ours."""
        if identity in self._reaped:
            return self._reaped.pop(identity)
        if not identity.holds_pid():
            return None
        try:
            pid, status = os.waitpid(identity.pid, os.WNOHANG)
        except ChildProcessError:
            return None
        return os.waitstatus_to_exitcode(status) if pid else None


def _detach(process: "subprocess.Popen[bytes]") -> None:
    """Takes a process from ``subprocess``, which would reap a dropped one and lose its exit code."""
    process.returncode = 0


def usable_cpus() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """What a job gets of the server's variables: all that are neither its interpreter's nor runyard's own."""
    return {
        name: value
        for name, value in environment.items()
        if name not in _NOT_INHERITED and not name.startswith(_NOT_INHERITED_PREFIXES)
    }


def _leader(identity: Identity) -> int | None:
    return identity.pid if identity.holds_pid() else None


def _marker(handle: JobHandle) -> str:
    return processes.marker_of(handle.run_id, handle.attempt, handle.node)


def _line(plan: NodePlan) -> bytes:
    return json.dumps(to_json(plan.assignment)).encode("utf-8") + b"\n"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name of its own
        return f"signal {number}"


def _tail(handle: JobHandle) -> str:
    """The end of the job's own log, for the message; the job's cause is nowhere else."""
    try:
        with open(Path(handle.directory, LOG_FILE), "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""
    return f" The end of its {LOG_FILE}:\n{text}" if text else ""


def _read_json(path: Path) -> dict[str, Any] | None:
    """What ``path`` holds; None if there is no such file or it is no JSON object (a full disk cut it)."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write_json(path: Path, value: Any) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(value))
    temporary.replace(path)
