"""The ranks: the user's processes on this node, started together and ended together."""

import os
import queue
import signal
import time
from typing import Any, Callable, Dict, List, Optional, Union

from runyard.distributed import mpi
from runyard.distributed.topology import Rank, ranks_of_node
from runyard.job import out_of_memory
from runyard.job.causes import error_of, full_disk, tail
from runyard.job.children import Children
from runyard.job.hydra import Hydra
from runyard.job.out_of_memory import MemoryWatch
from runyard.job.processes import kill_group, marker_of, reap_orphans
from runyard.job.script import Script
from runyard.protocol.jobs import JobAssignment, RankReport
from runyard.protocol.run_parts import RunError
from runyard.protocol.status import Reason

LOOK_EVERY_S = 5.0  # at the memory and the disk of the node, while the ranks run


class Stop:
    """Why ranks are ended from outside."""

    CANCEL = "cancel"
    STALE = "stale"
    TIMEOUT = "timeout"
    WORKERS_DONE = "workers_done"  # those that serve, such as parameter servers, have nobody left to serve


class Ranks:
    """Starts this node's ranks, waits for them, and ends all of them when one fails.

    Args:
        events: where ``(Stop.…,)`` and ``("launch", line)`` arrive from outside, from any thread or a signal handler.
        opened: is told the name below ``logs`` and a descriptor of each rank's output.
        tell_nodes: on the first node of an MPI run, called with what each node's job is to start.

    Attributes:
        notes: what the run is to be warned of.
    """

    def __init__(
        self,
        assignment: JobAssignment,
        script: Script,
        events: "queue.SimpleQueue[Any]",
        opened: Callable[[str, int], None],
        tell_nodes: Callable[[List[str]], None],
    ) -> None:
        self.reports: List[RankReport] = []
        self.notes: List[str] = []
        self.canceled = False
        self.timed_out = False
        self._assignment = assignment
        self._script = script
        self._events = events
        self._opened = opened
        self._ranks: Dict[int, Rank] = {rank.number: rank for rank in ranks_of_node(assignment)}
        self._starter: Union[Children, Hydra]
        if assignment.distribution.kind == "mpi":
            self._starter = Hydra(assignment, script, events, tell_nodes)
        else:
            self._starter = Children(list(self._ranks.values()), script, events)
        self._outputs: Dict[int, int] = {}  # by rank, open for reading: a script may delete the file's name
        self._memory = MemoryWatch()
        self._ending = False
        self._error: Optional[RunError] = None
        self._is_closed = False  # nothing more will be heard of the ranks

    def run(self, started: Callable[[], None], changed: Callable[[], None]) -> Optional[RunError]:
        """Runs them to their end; the error of the rank that failed first, None if all ended well.

        Args:
            started: called once, when every rank of this node runs.
            changed: called when one has ended and others go on.
        """
        own = self._assignment
        deadline = None if own.max_run_duration_s is None else time.monotonic() + own.max_run_duration_s
        early = [self._events.get() for _ in range(self._events.qsize())]
        if any(event[0] != "launch" for event in early):
            self.canceled = True  # asked to stop while code and data were fetched: start nothing
            return None
        for event in early:
            self._events.put(event)
        if not self._ranks:  # a node more than there are tasks
            started()
        else:
            try:
                self._open_outputs()
                self._starter.start()
            except OSError as fault:
                self._refuse(min(self._ranks), fault.strerror or str(fault))
        kill_at: Optional[float] = None
        while not self._is_over():
            event = self._next(kill_at if kill_at is not None else deadline)
            if event is None and kill_at is not None:
                self._end_all()
                kill_at = None
            elif self._take(event or (Stop.TIMEOUT,), started, changed) and not self._ending:
                self._ending = True
                deadline = None
                kill_at = time.monotonic() + own.grace_s
                self._signal_all(signal.SIGTERM)
                if not self.reports:
                    self._end_all()
        self._look()
        return self._time_limit() if self.timed_out else self._error

    def _take(self, event: Any, started: Callable[[], None], changed: Callable[[], None]) -> bool:
        """Takes in what happened. Whether the ranks are to end now."""
        kind = event[0]
        if kind == "started":
            self.reports.append(RankReport(rank=event[1], pid=event[2], started_at=time.time()))
            if len(self.reports) == len(self._ranks):
                started()
            return False
        if kind == "ended":
            self._note_end(event[1], event[2], by_us=self._ending)
            if not self._all_have_ended():
                changed()
            return self._error is not None or self._only_servers_are_left()
        if kind == "refused":
            if self._ending:  # a container that was ended before it had begun
                self._note_end(event[1], -signal.SIGTERM, by_us=True)
            else:
                self._refuse(event[1], event[2])
        elif kind == "over":
            if self._all_have_ended():
                self._is_closed = True
            else:
                self._break(event[1])
        elif kind == "launch":
            try:
                self._starter.join(event[1])
            except (OSError, ValueError) as fault:
                self._break("The ranks could not be started: {}.".format(fault))
            return False
        elif kind == Stop.TIMEOUT:
            self.timed_out = True
        elif kind == Stop.CANCEL:
            self.canceled = True
        return True

    def _open_outputs(self) -> None:
        for rank in self._ranks.values():
            flags = os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC
            descriptor = self._outputs[rank.number] = os.open(self._script.output(rank.label), flags, 0o600)
            self._opened(self._script.output_name(rank.label), descriptor)

    def _is_over(self) -> bool:
        # The first node's part of MPI's process manager serves the others to the end.
        return self._is_closed or (self._all_have_ended() and not isinstance(self._starter, Hydra))

    def _all_have_ended(self) -> bool:
        return sum(report.ended_at is not None for report in self.reports) == len(self._ranks)

    def _only_servers_are_left(self) -> bool:
        """Whether all that are served have ended well, as far as one node alone can know: of several the server tells."""
        if self._assignment.node_count > 1:
            return False
        over = {report.rank for report in self.reports if report.ended_at is not None}
        left = [rank for rank in self._ranks.values() if rank.number not in over]
        return bool(left) and all(rank.serves for rank in left)

    def _refuse(self, number: int, why: str) -> None:
        """A rank could not be started, so none goes on."""
        said = "{} could not be started: {}.".format(self._script.command()[0], why.rstrip("."))
        self._error = self._error or RunError(code=Reason.START_FAILED.value, message=said, rank=number)
        self._end_all()
        self._is_closed = True

    def _break(self, why: str) -> None:
        """Nothing will be heard of the ranks any more: those that have not ended are ended."""
        for report in list(self.reports):
            # A rank that called MPI_Abort waits to be ended: what it has printed is its last word.
            aborted = mpi.abort_code(tail(self._outputs[report.rank])) if report.ended_at is None else None
            if aborted is not None:
                self._note_end(report.rank, aborted, by_us=self._ending)
        self._end_all()
        self._is_closed = True
        if self._error is None and not self._ending:
            code = Reason.GANG_BROKEN if len(self.reports) == len(self._ranks) else Reason.START_FAILED
            self._error = RunError(code=code.value, message=why)

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
        reap_orphans(self._starter.pids)
        if not self.notes and full_disk(self._script.logs):
            self.notes.append(
                "The disk of the node was full while the script ran: what it wrote or printed then may be missing."
            )

    def _note_end(self, number: int, code: int, by_us: bool) -> None:
        position = next(position for position, report in enumerate(self.reports) if report.rank == number)
        known = self.reports[position]
        killed = code == -signal.SIGKILL and not by_us
        inside = self._script.container.memory_verdict(number) if killed and self._script.container else None
        memory = inside or (self._memory.verdict(known.pid) if killed else out_of_memory.NO)
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
        if code != 0 and self._error is None and not by_us:
            disk, hit = full_disk(self._script.logs), self._memory.touched_the_group()
            self._error = error_of(report, memory, hit, disk, self._outputs[number])

    def _time_limit(self) -> RunError:
        return RunError(
            code=Reason.TIME_LIMIT.value,
            message="The run was ended after its max_run_duration_seconds of {}.".format(
                self._assignment.max_run_duration_s
            ),
        )

    def _signal_all(self, number: int) -> None:
        for report in self.reports:
            if report.ended_at is None:
                try:
                    os.killpg(report.pid, number)  # each rank leads its own session and group
                except ProcessLookupError:
                    continue

    def _end_all(self) -> None:
        """Ends every process of this node but the job. Ranks that are not our children will not tell their end."""
        own = self._assignment
        self._signal_all(signal.SIGKILL)
        kill_group(marker_of(own.run_id, own.attempt, own.node), os.getpid(), but=[os.getpid()])
        if isinstance(self._starter, Hydra):
            for report in list(self.reports):
                if report.ended_at is None:
                    self._note_end(report.rank, -signal.SIGKILL, by_us=True)
            self._is_closed = True


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name of its own
        return "signal {}".format(number)
