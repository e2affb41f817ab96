"""Finalizing: outputs and the last bytes are collected; a job that was lost is salvaged."""

from collections.abc import Sequence

from runyard.protocol.runs import AttemptRecord, RunError, RunRecord
from runyard.protocol.status import Reason, RunStatus
from runyard_server.domain.retrying import is_tried_again, record_of, what_was_lost
from runyard_server.domain.supervision import NodeView, Verdict, is_settled, needs_salvage, verdict
from runyard_server.lifecycle.nodes import Nodes
from runyard_server.lifecycle.ports import Move, Ports
from runyard_server.records import runs as records


class Finalizing:
    """→ Completed or Failed, once nothing more can come."""

    def __init__(self, ports: Ports, nodes: Nodes) -> None:
        self._ports = ports
        self._nodes = nodes

    def advance(self, runs: Sequence[RunRecord]) -> list[Move]:
        views = self._nodes.look(runs)
        return [move for run in runs if (move := self.settle(run, views[run.id], cancelled=False)) is not None]

    def settle(self, run: RunRecord, nodes: Sequence[NodeView], cancelled: bool) -> Move | None:
        """The last move, once every node is settled; None until then."""
        for node in nodes:
            if needs_salvage(node):
                self._nodes.salvage(run, node.node)
        if not all(is_settled(node) and (cancelled or not node.awaits_engine) for node in nodes):
            return None
        said_of_scalars = self._ports.closing.keep_scalars(run)
        if said_of_scalars is None:
            self._ports.wake()  # a part was taken, and others had their turn
            return None
        ended: Verdict = verdict(nodes, run.error, cancelled)
        warnings = [*run.warnings, *(text for text in said_of_scalars if text not in run.warnings)]
        for node in nodes:
            said = list(node.report.warnings) if node.report else []
            if node.is_lost and node.began:
                left = str(self._ports.assignments.directory(run.id, run.attempt, node.node))
                left = "on its own disk, below the target's scratch" if node.on_own_disk else left
                said.append(f"What node {node.node} had left could not be collected. It was not removed: {left}")
            warnings += [text for text in said if text not in warnings]
        self._ports.closing.note_written(run, nodes)
        attempts = None
        if (
            ended.status is RunStatus.FAILED
            and ended.error is not None
            and run.spec
            and run.spec.retry.max_attempts > 1
        ):
            attempt = self._attempt(run, nodes, ended.error)
            attempts = [*run.attempts, attempt]
            if is_tried_again(run.spec, run.attempt, ended.error):
                return _again(run, attempts, warnings)
        if ended.status is RunStatus.COMPLETED:
            warnings += self._ports.closing.keep_outputs(run)
        return Move(
            run,
            ended.status,
            ended.reason,
            ended.error.message if ended.error else (run.message or "") if cancelled else "",
            ended.error,
            attempts,
            changes={"warnings": warnings},
        )

    def _attempt(self, run: RunRecord, nodes: Sequence[NodeView], error: RunError) -> AttemptRecord:
        with self._ports.database.read() as connection:
            started = [row.started_at for row in records.jobs_of(connection, run.id, run.attempt)]
            story = records.events(connection, run.id)
        # It was seen to be over when the run became Finalizing; what was collected since then is not lost.
        seen_at = next(event.at for event in reversed(story) if event.to_status is RunStatus.FINALIZING)
        began_at = min((at for at in started if at is not None), default=None)
        return record_of(run.attempt, error, began_at, seen_at, [node.report for node in nodes])


def _again(run: RunRecord, attempts: Sequence[AttemptRecord], warnings: Sequence[str]) -> Move:
    """Back into the queue: a new attempt, with nodes of its own."""
    assert run.spec is not None
    over = attempts[-1]
    lost = what_was_lost(over)
    message = (
        f"attempt {over.number} of {run.spec.retry.max_attempts} has ended, {over.reason}: {over.message}"
        f"{' ' + lost + '.' if lost else ''} Attempt {over.number + 1} follows"
    )
    changes = {"warnings": list(warnings), "attempt": run.attempt + 1}
    return Move(run, RunStatus.QUEUED, Reason.RETRIED, message, attempts=attempts, changes=changes)
