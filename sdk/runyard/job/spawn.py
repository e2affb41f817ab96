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
from runyard.job import out_of_memory
from runyard.job.causes import error_of, full_disk
from runyard.job.out_of_memory import MemoryWatch
from runyard.job.processes import kill_group, marker_of, node_environment, reap_orphans
from runyard.protocol.jobs import JobAssignment, RankReport
from runyard.protocol.runs import RunError
from runyard.protocol.status import Reason

_REFERENCE = re.compile(r"\$\{?AZUREML_DATAREFERENCE_(\w+)\}?")
LOOK_EVERY_S = 5.0  # at the memory and the disk of the node, while the ranks run


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
        opened: is told the name below ``logs`` and a descriptor of each rank's output.

    Attributes:
        notes: what the run is to be warned of.
    """

    def __init__(
        self,
        assignment: JobAssignment,
        code: str,
        spool: str,
        logs: str,
        data: Dict[str, str],
        events: "queue.SimpleQueue[Any]",
        opened: Callable[[str, int], None],
    ) -> None:
        self.reports: List[RankReport] = []
        self.notes: List[str] = []
        self.canceled = False
        self.timed_out = False
        self._assignment = assignment
        self._code, self._spool, self._logs, self._data = code, spool, logs, data
        self._events = events
        self._processes: List[subprocess.Popen[bytes]] = []
        self._ending = False
        self._error: Optional[RunError] = None
        self._opened = opened
        self._outputs: List[int] = []  # by position, open for reading: a script may delete the file's name
        self._memory = MemoryWatch()

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
                if self._error is None:
                    continue
            else:
                self.canceled = self.canceled or event[0] == Stop.CANCEL
                deadline = None
            if not self._ending:
                self._ending = True
                deadline = None
                kill_at = time.monotonic() + own.grace_s
                self._signal_all(signal.SIGTERM)
        self._look()
        return self._time_limit() if self.timed_out else self._error

    def _start(self, rank: int, alone: bool) -> None:
        name = "70_driver_log.txt" if alone else "70_driver_log_{}.txt".format(rank)
        # The file itself is the rank's output: whatever dies, what was written is in it.
        log_name = "azureml-logs/" + name
        path = os.path.join(self._logs, *log_name.split("/"))
        with open(path, "ab") as output:
            self._outputs.append(os.open(path, os.O_RDONLY))
            process = subprocess.Popen(
                self._command(),
                cwd=self._code,
                env=self._environment(rank),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._opened(log_name, self._outputs[-1])
        position = len(self.reports)
        self._processes.append(process)
        self.reports.append(RankReport(rank=rank, pid=process.pid, started_at=time.time()))
        threading.Thread(target=self._watch, args=(position, process), name="rank-{}".format(rank), daemon=True).start()

    def _watch(self, position: int, process: "subprocess.Popen[bytes]") -> None:
        self._events.put(("ended", position, process.wait()))

    def _next(self, until: Optional[float]) -> Any:
        """The next event; None when ``until`` (monotonic) has come."""
        while True:
            left = float("inf") if until is None else max(0.0, until - time.monotonic())
            try:
                return self._events.get(timeout=min(left, LOOK_EVERY_S))
            except queue.Empty:
                if left <= LOOK_EVERY_S:
                    return None
                self._look()

    def _look(self) -> None:
        """What is to be seen from time to time, beside the ranks."""
        self._memory.look()
        reap_orphans(process.pid for process in self._processes)
        if not self.notes and full_disk(self._logs):
            self.notes.append(
                "The disk of the node was full while the script ran: what it wrote or printed then may be missing."
            )

    def _note_end(self, position: int, code: int) -> None:
        known = self.reports[position]
        killed = code == -signal.SIGKILL and not self._ending
        memory = self._memory.verdict(known.pid) if killed else out_of_memory.NO
        report = RankReport(
            rank=known.rank,
            pid=known.pid,
            started_at=known.started_at,
            ended_at=time.time(),
            exit_code=code if code >= 0 else None,
            signal=_signal_name(-code) if code < 0 else None,
            out_of_memory=memory == out_of_memory.KNOWN,
        )
        self.reports[position] = report
        if code != 0 and self._error is None and not self._ending:
            self._error = error_of(
                report, memory, self._memory.touched_the_group(), full_disk(self._logs), self._outputs[position]
            )

    def _time_limit(self) -> RunError:
        return RunError(
            code=Reason.TIME_LIMIT.value,
            message="The run was ended after its max_run_duration_seconds of {}.".format(
                self._assignment.max_run_duration_s
            ),
        )

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


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name of its own
        return "signal {}".format(number)
