"""Starting: the run is checked against its compute target; what can never run is refused here."""

from collections.abc import Sequence

from runyard.errors import RunyardError
from runyard.protocol.runs import RunError, RunRecord
from runyard.protocol.status import Reason, RunStatus
from runyard_server.lifecycle.ports import Move, Ports


class Starting:
    """→ Preparing, or Failed with the cure. Submission has checked the same; the target may have changed since."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def advance(self, runs: Sequence[RunRecord]) -> list[Move]:
        moves = []
        for run in runs:
            assert run.spec is not None
            try:
                self._ports.check(run.spec, waits=False)  # an engine that is slow holds up no other run
            except RunyardError as refused:
                error = RunError(code=Reason.REFUSED.value, message=str(refused))
                moves.append(Move(run, RunStatus.FAILED, Reason.REFUSED, str(refused), error))
            else:
                moves.append(Move(run, RunStatus.PREPARING, Reason.ACCEPTED))
        return moves
