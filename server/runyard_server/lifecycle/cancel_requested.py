"""CancelRequested: the jobs are stopped, gently then firmly, and what they wrote is collected."""

from collections.abc import Sequence

from runyard.protocol.runs import RunRecord
from runyard.protocol.status import Reason, RunStatus
from runyard_server.domain.supervision import must_be_ended
from runyard_server.lifecycle.finalizing import Finalizing
from runyard_server.lifecycle.nodes import Nodes
from runyard_server.lifecycle.ports import Move


class CancelRequested:
    """→ Canceled."""

    def __init__(self, nodes: Nodes, finalizing: Finalizing) -> None:
        self._nodes = nodes
        self._finalizing = finalizing

    def advance(self, runs: Sequence[RunRecord]) -> list[Move]:
        views = self._nodes.look(runs)
        moves = []
        for run in runs:
            nodes = views[run.id]
            if run.spec is None or not nodes:
                moves.append(Move(run, RunStatus.CANCELED, Reason.CANCELED, run.message or ""))
                continue
            if any(must_be_ended(node) for node in nodes):
                self._nodes.end(run, nodes)
            move = self._finalizing.settle(run, nodes, cancelled=True)
            if move is not None:
                moves.append(move)
        return moves
