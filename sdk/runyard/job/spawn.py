"""The ranks: the user's processes on this node, started together and ended together."""

import os
import queue
import re
import signal
import subprocess
import threading
import time
from typing import Any, Callable, Dict, List, Optional

from runyard.distributed.topology import rank_environment, ranks_of_node
from runyard.job.processes import kill_group, marker_of, node_environment
from runyard.protocol.jobs import JobAssignment, RankReport
from runyard.protocol.runs import RunError
from runyard.protocol.status import Reason

_REFERENCE = re.compile(r"\$\{?AZUREML_DATAREFERENCE_(\w+)\}?")
_TAIL_BYTES = 65536
_TRACEBACK = "Traceback (most recent call last):"


class Stop:
    """Why ranks are ended from outside."""

    CANCEL = "cancel"
    STALE = "stale"
    TIMEOUT = "timeout"


class Ranks:
    """Starts this node's ranks, waits for them, and ends all of them when one fails.

    Args:
        data: local path of each data reference by name.
        events: where ``(Stop.…,)`` arrives from outside, from any thread or a signal handler.
    """

    def __init__(
        self,
        assignment: JobAssignment,
        code: str,
        spool: str,
        logs: str,
        data: Dict[str, str],
        events: "queue.SimpleQueue[Any]",
    ) -> None:
        self.reports: List[RankReport] = []
        self.canceled = False
        self.timed_out = False
        self._assignment = assignment
        self._code, self._spool, self._logs, self._data = code, spool, logs, data
        self._events = events
        self._processes: List[subprocess.Popen[bytes]] = []
        self._ending = False
        self._failed: Optional[RankReport] = None
        self._oom_kills = _oom_kills()

    def run(self, started: Callable[[], None]) -> Optional[RunError]:
        """Runs them to their end; the error of the rank that failed first, None if all ended well."""
        own = self._assignment
        deadline = None if own.max_run_duration_s is None else time.monotonic() + own.max_run_duration_s
        ranks = ranks_of_node(own)
        if not self._events.empty():  # asked to stop while code and data were fetched: start nothing
            self.canceled = True
            return None
        try:
            for rank in ranks:
                self._start(rank, len(ranks) == 1 and own.node_count == 1)
        except OSError as fault:
            self._end_all()
            return RunError(
                code=Reason.START_FAILED.value,
                message="{} could not be started: {}.".format(self._command()[0], fault.strerror or fault),
                rank=ranks[0],
            )
        started()
        kill_at: Optional[float] = None
        while any(report.ended_at is None for report in self.reports):
            event = self._next(kill_at if kill_at is not None else deadline)
            if event is None:
                if kill_at is not None:
                    self._end_all()
                    kill_at = None
                    continue
                self.timed_out = True
                event = (Stop.TIMEOUT,)
            if event[0] == "ended":
                self._note_end(event[1], event[2])
                if self._failed is None:
                    continue
            else:
                self.canceled = self.canceled or event[0] == Stop.CANCEL
                deadline = None
            if not self._ending:
                self._ending = True
                deadline = None
                kill_at = time.monotonic() + own.grace_s
                self._signal_all(signal.SIGTERM)
        return self._error()

    def _start(self, rank: int, alone: bool) -> None:
        name = "70_driver_log.txt" if alone else "70_driver_log_{}.txt".format(rank)
        # The file itself is the rank's output: whatever dies, what was written is in it.
        with open(os.path.join(self._logs, "azureml-logs", name), "ab") as output:
            process = subprocess.Popen(
                self._command(),
                cwd=self._code,
                env=self._environment(rank),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        position = len(self.reports)
        self._processes.append(process)
        self.reports.append(RankReport(rank=rank, pid=process.pid, started_at=time.time()))
        threading.Thread(target=self._watch, args=(position, process), name="rank-{}".format(rank), daemon=True).start()

    def _watch(self, position: int, process: "subprocess.Popen[bytes]") -> None:
        self._events.put(("ended", position, process.wait()))

    def _next(self, until: Optional[float]) -> Any:
        try:
            return self._events.get(timeout=None if until is None else max(0.0, until - time.monotonic()))
        except queue.Empty:
            return None

    def _note_end(self, position: int, code: int) -> None:
        known = self.reports[position]
        report = RankReport(
            rank=known.rank,
            pid=known.pid,
            started_at=known.started_at,
            ended_at=time.time(),
            exit_code=code if code >= 0 else None,
            signal=_signal_name(-code) if code < 0 else None,
            out_of_memory=code == -signal.SIGKILL and not self._ending and _oom_kills() > self._oom_kills,
        )
        self.reports[position] = report
        if code != 0 and self._failed is None and not self._ending:
            self._failed = report

    def _error(self) -> Optional[RunError]:
        if self.timed_out:
            return RunError(
                code=Reason.TIME_LIMIT.value,
                message="The run was ended after its max_run_duration_seconds of {}.".format(
                    self._assignment.max_run_duration_s
                ),
            )
        failed = self._failed
        if failed is None:
            return None
        if failed.out_of_memory:
            return RunError(
                code=Reason.OUT_OF_MEMORY.value,
                message="The kernel ended the script because the machine ran out of memory (SIGKILL).",
                rank=failed.rank,
                signal=failed.signal,
            )
        if failed.signal:
            return RunError(
                code=Reason.SIGNALED.value,
                message="The script was ended by {}.".format(failed.signal),
                rank=failed.rank,
                signal=failed.signal,
                traceback=self._traceback(failed.rank),
            )
        trace = self._traceback(failed.rank)
        last = trace.strip().splitlines()[-1] if trace else ""
        return RunError(
            code=Reason.SCRIPT_FAILED.value,
            message="The script ended with exit code {}{}".format(failed.exit_code, ": " + last if last else "."),
            rank=failed.rank,
            exit_code=failed.exit_code,
            traceback=trace,
        )

    def _traceback(self, rank: int) -> Optional[str]:
        """The last Python traceback in the rank's output."""
        folder = os.path.join(self._logs, "azureml-logs")
        for name in ("70_driver_log.txt", "70_driver_log_{}.txt".format(rank)):
            try:
                with open(os.path.join(folder, name), "rb") as log:
                    log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
                    text = log.read().decode("utf-8", "replace")
            except FileNotFoundError:
                continue
            start = text.rfind(_TRACEBACK)
            return text[start:].rstrip() if start >= 0 else None
        return None

    def _signal_all(self, number: int) -> None:
        for report, process in zip(self.reports, self._processes):
            if report.ended_at is None:
                try:
                    os.killpg(process.pid, number)  # each rank leads its own session and group
                except ProcessLookupError:
                    continue

    def _end_all(self) -> None:
        own = self._assignment
        self._signal_all(signal.SIGKILL)
        kill_group(marker_of(own.run_id, own.attempt, own.node), os.getpid(), but=[os.getpid()])

    def _command(self) -> List[str]:
        own = self._assignment
        if own.command:
            return [self._resolved(word) for word in own.command]
        return [own.python, own.script or ""] + [self._resolved(word) for word in own.arguments]

    def _resolved(self, word: str) -> str:
        return _REFERENCE.sub(lambda found: self._data.get(found.group(1), found.group(0)), word)

    def _environment(self, rank: int) -> Dict[str, str]:
        own = self._assignment
        environment = dict(os.environ)
        bin_folder = os.path.dirname(own.python)
        environment["PATH"] = bin_folder + os.pathsep + environment.get("PATH", os.defpath)
        if os.path.exists(os.path.join(os.path.dirname(bin_folder), "pyvenv.cfg")):
            environment["VIRTUAL_ENV"] = os.path.dirname(bin_folder)
        environment["PYTHONUNBUFFERED"] = "1"  # a line is seen when it is printed
        environment.update(own.variables)
        paths = [own.sdk_path] + [path for path in [own.variables.get("PYTHONPATH")] if path]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        environment.update(node_environment(own.run_id, own.attempt, own.node, own.gpus))
        environment.update(rank_environment(own, rank))
        environment.update(self._run_variables(rank))
        for name, path in self._data.items():
            environment["AZUREML_DATAREFERENCE_" + name] = path
        return environment

    def _run_variables(self, rank: int) -> Dict[str, str]:
        own = self._assignment
        said = {
            "AZUREML_RUN_ID": own.run_id,
            "AZUREML_RUN_TOKEN": own.token,
            "AZUREML_SERVICE_ENDPOINT": own.server_url,
            "AZUREML_ARM_SUBSCRIPTION": "local",
            "AZUREML_ARM_RESOURCEGROUP": "local",
            "AZUREML_ARM_WORKSPACE_NAME": own.workspace,
            "AZUREML_ARM_PROJECT_NAME": own.experiment,
            "AZUREML_EXPERIMENT_ID": own.experiment,
            "AZUREML_OUTPUT_DIRECTORY": "./outputs",
            "AZUREML_LOGDIRECTORY_PATH": "./logs",
            "RUNYARD_RUN_SPOOL": self._spool,
            "RUNYARD_RUN_ATTEMPT": str(own.attempt),
            "RUNYARD_RUN_RANK": str(rank),
        }
        if own.server_file:
            said["RUNYARD_RUN_SERVER_FILE"] = own.server_file
        return said


def _oom_kills() -> int:
    """How often the kernel has ended a process for lack of memory since boot; 0 where it does not tell."""
    try:
        with open("/proc/vmstat") as counters:
            for line in counters:
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    except OSError:
        return 0
    return 0


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name of its own
        return "signal {}".format(number)
