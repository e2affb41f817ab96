"""Who may start now, and what each of the others waits for: the placement rules over what is recorded."""

from collections.abc import Callable, Mapping, Sequence

from runyard.protocol.runs import RunRecord
from runyard.protocol.status import RunStatus
from runyard_server.domain.placement import Candidate, Decision, Placed, Target, asked_per_node, place
from runyard_server.executors.base import Executor
from runyard_server.records import runs as records
from runyard_server.records.engine import Database

_HOLDING = [
    RunStatus.RUNNING,
    RunStatus.NOT_RESPONDING,
    RunStatus.FINALIZING,
    RunStatus.CANCEL_REQUESTED,
]


class QueueService:
    """The queue of every compute target.

    Args:
        target: a compute target's room and the name of its executor; None where there is none.
    """

    def __init__(
        self,
        database: Database,
        executors: Mapping[str, Executor],
        target: Callable[[str], tuple[Target, str] | None],
    ) -> None:
        self._database = database
        self._executors = executors
        self._target = target

    def executor_of(self, run: RunRecord) -> str:
        """Name of the executor that provides the run's nodes."""
        found = self._target(run.target or "local")
        return found[1] if found else "local"

    def decide(self, queued: Sequence[RunRecord]) -> list[Decision]:
        """A decision on each of the queued runs, in the order in which they are served."""
        if not queued:
            return []
        with self._database.read() as connection:
            holding = [
                (run, records.jobs_of(connection, run.id, run.attempt))
                for run in records.in_status(connection, _HOLDING)
                if run.spec is not None
            ]
            # A server that ended while it started them: they hold their nodes, and are to be started again.
            reserved = set(records.queued_with_jobs(connection))
            begun = {run.id: records.jobs_of(connection, run.id, run.attempt) for run in queued if run.id in reserved}
        holding += [(run, begun[run.id]) for run in queued if run.id in begun]
        names = {run.target or "local" for run in queued}
        targets = {name: found for name in names if (found := self._target(name)) is not None}
        shapes = {name: room.gpus_per_node for name, (room, _) in targets.items()}
        running = [
            Placed(run.id, run.target or "local", run.spec.node_count, tuple(tuple(row.gpus) for row in jobs))
            for run, jobs in holding
            if run.spec is not None and jobs
        ]
        candidates = [
            Candidate(
                run_id=run.id,
                target=run.target or "local",
                node_count=run.spec.node_count,
                gpus_per_node=asked_per_node(run.spec.gpus_per_node, shapes.get(run.target or "local", 0)),
                priority=run.spec.priority,
                queued_at=run.created_at,
            )
            for run in queued
            if run.spec is not None and run.id not in begun
        ]
        wants_gpus = any(candidate.gpus_per_node for candidate in candidates)
        gpus = self._executors["local"].inventory().gpus if wants_gpus else []
        again = [Decision(run.id, starts=True) for run in queued if run.id in begun]
        return again + place([room for room, _ in targets.values()], running, candidates, gpus)

    def why(self, run: RunRecord) -> Decision | None:
        """The present decision on one queued run; None if it is not queued."""
        with self._database.read() as connection:
            queued = records.in_status(connection, [RunStatus.QUEUED])
        for decision in self.decide(queued):
            if decision.run_id == run.id:
                return decision
        return None
