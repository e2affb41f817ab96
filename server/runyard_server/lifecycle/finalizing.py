"""Finalizing: outputs and the last bytes are collected; a job that was lost is salvaged."""

from collections.abc import Sequence

from runyard.protocol.runs import RunRecord
from runyard.protocol.status import RunStatus
from runyard_server.domain.supervision import NodeView, Verdict, is_settled, needs_salvage, verdict
from runyard_server.lifecycle.nodes import Nodes
from runyard_server.lifecycle.ports import Move, Ports


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
        ended: Verdict = verdict(nodes, run.error, cancelled)
        warnings = list(run.warnings)
        for node in nodes:
            said = list(node.report.warnings) if node.report else []
            if node.is_lost and node.began:
                left = self._ports.assignments.directory(run.id, run.attempt, node.node)
                said.append(f"What node {node.node} had left could not be collected. It was not removed: {left}")
            warnings += [text for text in said if text not in warnings]
        self._ports.closing.note_written(run, nodes)
        if ended.status is RunStatus.COMPLETED:
            warnings += self._ports.closing.keep_outputs(run)
        return Move(
            run,
            ended.status,
            ended.reason,
            ended.error.message if ended.error else (run.message or "") if cancelled else "",
            ended.error,
            changes={"warnings": warnings},
        )
