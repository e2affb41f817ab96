"""Running: the jobs are watched until every rank has ended, or its process is seen to be gone."""

from collections.abc import Sequence

from runyard.protocol.runs import RunError, RunRecord
from runyard.protocol.status import Reason, RunStatus
from runyard_server.domain.supervision import LOSSES, Next, NodeView, first_error, judge
from runyard_server.lifecycle.nodes import Nodes
from runyard_server.lifecycle.ports import Move, Ports


class Running:
    """→ Finalizing, or NotResponding while heartbeats are missing."""

    def __init__(self, ports: Ports, nodes: Nodes) -> None:
        self._ports = ports
        self._nodes = nodes

    def advance(self, runs: Sequence[RunRecord]) -> list[Move]:
        views = self._nodes.look(runs)
        return [move for run in runs if (move := self._one(run, views[run.id])) is not None]

    def _one(self, run: RunRecord, nodes: Sequence[NodeView]) -> Move | None:
        if run.spec is None:
            return _interactive(run, nodes)
        self._ports.closing.look_at_scalars(run)
        step = judge(nodes)
        if step is Next.FINALIZE:
            # Noted now: a job that is lost while it collects is followed by one that knows nothing of the ranks.
            error = run.error or first_error(nodes)
            lost = error is not None and error.code in LOSSES
            reason = Reason(error.code) if error and lost else Reason.SCRIPT_ENDED
            return Move(run, RunStatus.FINALIZING, reason, error.message if error and lost else "", error)
        if step is Next.END_GANG:
            self._nodes.end(run, nodes)
        elif step is Next.NOT_RESPONDING and run.status is RunStatus.RUNNING:
            return Move(run, RunStatus.NOT_RESPONDING, Reason.HEARTBEAT_MISSING, "no heartbeat of its job")
        elif step is Next.GO_ON and run.status is RunStatus.NOT_RESPONDING:
            return Move(run, RunStatus.RUNNING, Reason.HEARTBEAT_RETURNED)
        return None


def _interactive(run: RunRecord, nodes: Sequence[NodeView]) -> Move | None:
    for node in nodes:
        if node.is_over:
            message = f"The client that logged to this run is gone without completing it: {node.cause}."
            error = RunError(code=Reason.CLIENT_LOST.value, message=message)
            return Move(run, RunStatus.FAILED, Reason.CLIENT_LOST, message, error)
    return None
