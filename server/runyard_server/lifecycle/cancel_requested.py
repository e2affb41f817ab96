"""CancelRequested: the jobs are stopped, gently then firmly, and what they wrote is collected."""

from collections.abc import Sequence

from runyard.protocol.runs import RunRecord
from runyard.protocol.status import Reason, RunStatus
from runyard_server.lifecycle.finalizing import Finalizing
from runyard_server.lifecycle.nodes import Nodes
from runyard_server.lifecycle.ports import Move, Ports

FIRMLY_AFTER_S = 60.0  # beyond the job's own grace for its ranks and the time to collect


class CancelRequested:
    """→ Canceled."""

    def __init__(self, ports: Ports, nodes: Nodes, finalizing: Finalizing) -> None:
        self._ports = ports
        self._nodes = nodes
        self._finalizing = finalizing
        self._asked: dict[str, float] = {}  # run id -> monotonic time of the gentle request
        self._forced: set[str] = set()

    def advance(self, runs: Sequence[RunRecord]) -> list[Move]:
        present = {run.id for run in runs}
        self._asked = {run_id: at for run_id, at in self._asked.items() if run_id in present}
        self._forced &= present
        views = self._nodes.look(runs)
        moves = []
        for run in runs:
            nodes = views[run.id]
            if run.spec is None or not nodes:
                moves.append(Move(run, RunStatus.CANCELED, Reason.CANCELED, run.message or ""))
                continue
            if not all(node.has_ended for node in nodes):  # one that collects is doing what it should
                self._ask(run)
            move = self._finalizing.settle(run, nodes, cancelled=True)
            if move is not None:
                moves.append(move)
        return moves

    def _ask(self, run: RunRecord) -> None:
        now = self._ports.clock.monotonic()
        if run.id not in self._asked:
            self._asked[run.id] = now
            self._nodes.cancel(run, firmly=False)
        elif now - self._asked[run.id] > FIRMLY_AFTER_S and run.id not in self._forced:
            self._forced.add(run.id)
            self._nodes.cancel(run, firmly=True)
