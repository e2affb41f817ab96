"""Jobs as the server sees them: what ``runyard.job`` reports and ships, played without a process.

What a job writes lies on the disk of its node (``Disk``), where the job that salvages a lost one finds it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from runyard.distributed.topology import log_of
from runyard.protocol.jobs import JobReply, JobReport, RankReport
from runyard.protocol.runs import RunError
from runyard.protocol.status import Reason
from runyard_server.testing.fake_executor import FakeJob
from runyard_server.testing.run_server import RunServer


@dataclass
class Disk:
    """What a node's ranks have written so far."""

    log: bytes = b""
    metrics: bytes = b""
    starts: int = 0  # how often ranks were started there


class Fate(Enum):
    """What becomes of a job by itself."""

    ENDS = "ends"
    DIES_RUNNING = "dies while its ranks run"
    DIES_COLLECTING = "dies while it collects"


@dataclass(frozen=True)
class Play:
    """What one job is to do.

    Attributes:
        lines: how much its ranks write before they end; None: a little, and they go on until they are told to end.
        exit_code: how its rank ends by itself.
    """

    lines: int | None = 1
    exit_code: int = 0
    fate: Fate = Fate.ENDS


@dataclass
class PlayedJob:
    """One job at work. ``act`` does the next thing; if the server fails it, the same is done again.

    Args:
        leftovers: other jobs of this node, which a salvage ends.
        now: the node's clock, in seconds since the epoch.
    """

    job: FakeJob
    play: Play
    disk: Disk
    leftovers: Callable[[], list[FakeJob]]
    now: Callable[[], float]
    phase: str = "preparing"
    sequence: int = 0
    is_told: bool = True  # whether the server has its present report
    is_shipped: bool = True  # and what its ranks wrote
    canceled: bool = False
    error: RunError | None = None
    ranks: list[RankReport] = field(default_factory=list)
    said: list[JobReport] = field(default_factory=list)  # every report, as often as it was sent
    written: int = 0
    ranks_over: bool = False  # on every node, as the server says
    hangs: bool = False  # as one that SIGSTOP has reached: nothing but a firm end moves it

    def __post_init__(self) -> None:
        self.job.when_asked = self.ask_to_end
        self.sequence = 1_000_000_000 * self.job.assignment.salvage

    def ask_to_end(self) -> None:
        """A SIGTERM, or the answer to a report: it ends its ranks and collects."""
        self.canceled = True

    def act(self, server: RunServer) -> None:
        """Does the next thing, unless it is over or hangs."""
        if self.job.is_over or self.job.waits or self.hangs:
            return
        if not self.is_told:
            self._report(server)
        elif self.phase == "preparing":
            self._begin()
        elif self.phase == "running":
            self._work(server)
        elif self.phase == "collecting":
            self._collect(server)

    def beat(self, server: RunServer) -> None:
        """Says its present report once more."""
        if not self.job.is_over and not self.hangs:
            self.is_told = False
            self._report(server)

    def rank_dies(self, signal: str) -> None:
        """A signal from somewhere ends its rank."""
        if self.has_live_ranks:
            error = RunError(Reason.SIGNALED.value, f"The script was ended by {signal}.", rank=self.node, signal=signal)
            self._end_ranks(None, signal, error)

    @property
    def has_live_ranks(self) -> bool:
        """Whether somebody computes on its node."""
        return self.phase == "running" and not self.job.is_over

    @property
    def node(self) -> int:
        return self.job.handle.node

    def report(self) -> JobReport:
        """What it would say now."""
        return JobReport(
            attempt=self.job.handle.attempt,
            node=self.node,
            sequence=self.sequence,
            phase=self.phase,
            ranks=list(self.ranks),
            error=self.error,
            canceled=self.canceled,
            written=self._streams() if self.phase == "done" else {},
        )

    def _begin(self) -> None:
        if self.job.assignment.salvage:
            for job in self.leftovers():
                job.kill()
            self._say("collecting")
        elif self.canceled:
            self._say("collecting")
        else:
            self.disk.starts += 1
            self.ranks = [RankReport(rank=self.node, pid=1, started_at=self.now())]
            self._say("running")

    def _work(self, server: RunServer) -> None:
        if not self.is_shipped:
            self._ship(server)
        code = self.play.exit_code
        if self.canceled:
            self._end_ranks(None, "SIGTERM", None)
            return
        if self.written == self.play.lines:
            error = None
            if code:
                message = f"The script ended with exit code {code}."
                error = RunError(Reason.SCRIPT_FAILED.value, message, rank=self.node, exit_code=code)
            self._end_ranks(code, None, error)
            return
        if self.play.lines is None and self.written == 2:
            return
        number = self.disk.log.count(b"\n")
        self.disk.log += f"line {number}\n".encode()
        self.disk.metrics += f'["s", "{self.metric}", {number}, {self.now()}]\n'.encode()
        self.written += 1
        self.is_shipped = False
        if self.written == 1 and self.play.fate is Fate.DIES_RUNNING:
            self.job.kill()
            return
        self._ship(server)

    def _end_ranks(self, exit_code: int | None, signal: str | None, error: RunError | None) -> None:
        self.ranks = [
            RankReport(self.node, 1, self.ranks[0].started_at, self.now(), exit_code=exit_code, signal=signal)
        ]
        self.error = error
        self._say("collecting")

    def _collect(self, server: RunServer) -> None:
        if self.play.fate is Fate.DIES_COLLECTING:
            self.job.kill()
            return
        given = self.job.assignment
        if given.shared_code is not None and given.keeps_folders and not self.ranks_over:
            self.beat(server)  # it waits for the others, and asks
            return
        self._ship(server)
        self._say("done")

    def _ship(self, server: RunServer) -> None:
        """Sends all that lies on the disk; the server takes what it has not."""
        run_id = self.job.handle.run_id
        server.logs.append(run_id, self.log_name, 0, self.disk.log)
        server.metrics.take(run_id, self._writer, 0, self.disk.metrics)
        self.is_shipped = True

    def _say(self, phase: str) -> None:
        self.phase = phase
        self.sequence += 1
        self.is_told = False

    def _report(self, server: RunServer) -> None:
        report = self.report()
        self.said.append(report)
        reply: JobReply = server.runs.report(self.job.handle.run_id, report)
        self.is_told = True
        self.ranks_over = reply.ranks_over
        if reply.stale:
            self.job.exit(1)
        elif self.phase == "done":
            self.job.exit(0 if self.error is None else 1)
        elif reply.cancel:
            self.ask_to_end()

    def _streams(self) -> dict[str, int]:
        return {self.log_name: len(self.disk.log), "metrics/" + self._writer: len(self.disk.metrics)}

    @property
    def log_name(self) -> str:
        return log_of(str(self.node), alone=False, attempt=self.job.handle.attempt)

    @property
    def metric(self) -> str:
        """What its ranks log: 0, 1, 2, ..."""
        return f"loss-{self.node}"

    @property
    def _writer(self) -> str:
        attempt = self.job.handle.attempt
        return f"rank-{self.node}" if attempt == 1 else f"rank-{self.node}.attempt-{attempt}"
