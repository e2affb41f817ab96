"""What a run's processes are at: who runs, who has ended, when each was last heard of, and their stacks if asked for."""

import threading
import time
from collections.abc import Sequence

from runyard.distributed.topology import Rank, is_alone, log_of, ranks
from runyard.errors import RunException
from runyard.protocol.jobs import RankReport, RankState, RankStatus, StackRequest
from runyard.protocol.runs import RunRecord
from runyard.protocol.status import RunStatus
from runyard_server.domain.clock import Clock
from runyard_server.records import runs as records
from runyard_server.records.engine import Database
from runyard_server.services.logs import LogService

ASKED_S = 30.0  # for so long the jobs are told that somebody waits for stacks

_WITH_RANKS = (RunStatus.RUNNING, RunStatus.NOT_RESPONDING, RunStatus.CANCEL_REQUESTED)


class RankService:
    """Answers for the ranks of runs. What is asked of them lives as long as this server: who asked can ask again."""

    def __init__(self, database: Database, clock: Clock, logs: LogService) -> None:
        self._database = database
        self._clock = clock
        self._logs = logs
        self._lock = threading.Lock()
        self._asked: dict[str, tuple[StackRequest, float]] = {}  # by run id; with the monotonic moment

    def list(self, run_id: str) -> list[RankStatus]:
        """Every rank of the run's present attempt, by number; empty for an interactive run.

        Raises:
            UnknownRunError: there is no such run.
        """
        run, jobs = self._look(run_id)
        if run.spec is None:
            return []
        said = {rank.rank: rank for row in jobs if row.report is not None for rank in row.report.ranks}
        distribution, nodes = run.spec.distribution, run.spec.node_count
        alone = is_alone(distribution, nodes)
        return [self._status(run, rank, said.get(rank.number), alone) for rank in ranks(distribution, nodes)]

    def ask_for_stacks(self, run_id: str) -> StackRequest:
        """Asks the jobs for every rank's stack; they come as logs of the run. One request serves all who ask at once.

        Raises:
            UnknownRunError: there is no such run.
            RunException: no rank of it runs now.
        """
        run, _ = self._look(run_id)
        if run.spec is None:
            raise RunException(
                f"Run {run_id} is interactive: its process is its caller's own. Look at that one with `py-spy dump`."
            )
        if run.status not in _WITH_RANKS:
            raise RunException(f"Run {run_id} is {run.status}: only a run that is Running has stacks to look at.")
        now = self._clock.monotonic()
        name = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime(self._clock.now()))
        labels = [rank.label for rank in ranks(run.spec.distribution, run.spec.node_count)]
        with self._lock:
            self._asked = {known: asked for known, asked in self._asked.items() if now - asked[1] < ASKED_S}
            request, _ = self._asked[run_id] = StackRequest(name, labels), now
        return request

    def wanted_stacks(self, run_id: str) -> str | None:
        """What the jobs of the run are told: the name of the newest request, None where nobody waits."""
        with self._lock:
            request, asked_at = self._asked.get(run_id, (None, 0.0))
        if request is None or self._clock.monotonic() - asked_at >= ASKED_S:
            return None
        return request.name

    def _look(self, run_id: str) -> tuple[RunRecord, Sequence[records.JobRow]]:
        with self._database.read() as connection:
            run = records.get(connection, run_id)
            return run, records.jobs_of(connection, run_id, run.attempt)

    def _status(self, run: RunRecord, rank: Rank, said: RankReport | None, alone: bool) -> RankStatus:
        log = log_of(rank.label, alone, run.attempt)
        state = RankState.WAITING
        if said is not None:
            state = RankState.RUNNING if said.ended_at is None and not run.status.is_terminal else RankState.ENDED
        return RankStatus(
            rank=rank.number,
            name=rank.label,
            node=rank.node,
            state=state,
            log=log,
            started_at=None if said is None else said.started_at,
            ended_at=None if said is None else said.ended_at,
            exit_code=None if said is None else said.exit_code,
            signal=None if said is None else said.signal,
            # The log itself knows when it grew: a job that ships within 0.1 s has nothing to add to that.
            last_output_at=self._logs.grown_at(run.id, log),
        )
