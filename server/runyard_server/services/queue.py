"""Who may start now, and what each of the others waits for: the placement rules over what is recorded."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from runyard.protocol.runs import RunRecord
from runyard.protocol.status import RunStatus
from runyard_server.domain.gpus import Gpu
from runyard_server.domain.placement import Candidate, Decision, Lines, Placed, Placement, Target
from runyard_server.executors.base import Executor
from runyard_server.records import runs as records
from runyard_server.records.engine import Database
from runyard_server.records.runs import Holder, Waiting

_HOLDING = [
    RunStatus.RUNNING,
    RunStatus.NOT_RESPONDING,
    RunStatus.FINALIZING,
    RunStatus.CANCEL_REQUESTED,
]


class QueueService:
    """The queue of every compute target.

    ``starts`` belongs to the lifecycle's thread and remembers who waits from one call to the next; ``why`` may be
    asked from any thread and reads what is recorded.

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
        self._lines = Lines()
        self._handed_over: dict[str, Placed] = {}  # to engines that have a queue of their own, and wait there
        self._said: dict[str, str] = {}  # what those wait for, by run

    def hand_over(self, run: RunRecord) -> None:
        """A queued run waits with its engine from now on."""
        assert run.spec is not None
        self._handed_over[run.id] = Placed(run.id, _name(run.target), run.spec.node_count)

    def say(self, run_id: str, waits_for: str) -> None:
        """What a run waits for, by its engine's word."""
        self._said[run_id] = waits_for

    def take_back(self, run_id: str) -> None:
        """The run is not queued any more."""
        self._handed_over.pop(run_id, None)
        self._said.pop(run_id, None)

    def executor_of(self, run: RunRecord) -> str:
        """Name of the executor that provides the run's nodes."""
        found = self._target(run.target or "local")
        return found[1] if found else "local"

    def starts(self, queued: Sequence[RunRecord]) -> list[Decision]:
        """Those of all the queued runs that start now, in the order in which they are served.

        Those that were handed over to an engine's own queue are not to be among them.

        A run that has nodes already starts on these: a server ended while it started it, or the start could not be
        recorded.
        """
        present = {run.id for run in queued}
        for gone in self._lines.run_ids() - present:
            self._lines.leave(gone)
        new = [run for run in queued if run.id not in self._lines.run_ids()]
        if not present:
            return []
        with self._database.read() as connection:
            begun = records.holders_among(connection, [run.id for run in new])
            holding = records.holders(connection, _HOLDING)
        again = {held.run_id for held in begun}
        for run in new:
            if run.id not in again:
                self._lines.join(_candidate(run))
        placement = self._placement(self._lines, [*holding, *begun], self._handed_over.values())
        for decision in placement.starts:
            # A run that is here again at the next call has not become Running: what it has is read anew then.
            self._lines.leave(decision.run_id)
        return [Decision(run_id, starts=True) for run_id in again] + placement.starts

    def why(self, run: RunRecord) -> Decision | None:
        """The present decision on one queued run; None if it is not queued."""
        return self.why_each([run])[0]

    def why_each(self, runs: Sequence[RunRecord]) -> list[Decision | None]:
        """The same of several: the queue is read and decided once."""
        queued = [run.id for run in runs if run.status is RunStatus.QUEUED]
        told = {run_id: self._said.get(run_id) for run_id in queued}
        found = {
            run_id: Decision(run_id, starts=False, reason=said) for run_id, said in told.items() if said is not None
        }
        left = [run_id for run_id in queued if run_id not in found]
        if left:
            with self._database.read() as connection:
                waiting = records.waiting(connection)
                holding = records.holders(connection, [*_HOLDING, RunStatus.QUEUED])
            begun, here = {held.run_id for held in holding}, {row.run_id for row in waiting}
            lines = Lines(_recorded(row) for row in waiting if row.run_id not in begun)
            placement = self._placement(lines, holding)
            for run_id in left:
                candidate = lines.find(run_id)
                if candidate is not None:
                    found[run_id] = placement.on(candidate)
                elif run_id in here:
                    found[run_id] = Decision(run_id, starts=True)
        return [found.get(run.id) for run in runs]

    def _placement(self, lines: Lines, holding: Iterable[Holder], handed: Iterable[Placed] = ()) -> Placement:
        targets = [found[0] for name in lines.targets() if (found := self._target(name)) is not None]
        placed = [
            Placed(held.run_id, _name(held.target), len(held.gpus), tuple(tuple(node) for node in held.gpus))
            for held in holding
        ]
        return Placement(targets, [*placed, *handed], lines, self._gpus)

    def _gpus(self) -> Sequence[Gpu]:
        return self._executors["local"].inventory().gpus


def _candidate(run: RunRecord) -> Candidate:
    spec = run.spec
    assert spec is not None
    return Candidate(run.id, _name(run.target), spec.node_count, spec.gpus_per_node, spec.priority, run.created_at)


def _recorded(row: Waiting) -> Candidate:
    return Candidate(
        row.run_id, _name(row.target), row.node_count, row.gpus_per_node, row.priority, queued_at=row.created_at
    )


def _name(target: str | None) -> str:
    return target or "local"
