"""What the stages work with, and what they answer."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from runyard.protocol.compute import ComputeRecord
from runyard.protocol.runs import AttemptRecord, RunError, RunRecord, RunSpec
from runyard.protocol.status import Reason, RunStatus
from runyard_server.domain.clock import Clock
from runyard_server.executors.base import Executor
from runyard_server.records.engine import Database
from runyard_server.services.admission import Admitted
from runyard_server.services.assignments import AssignmentService
from runyard_server.services.closing import ClosingService
from runyard_server.services.environments import EnvironmentService
from runyard_server.services.fence import Fence
from runyard_server.services.hub import Hub
from runyard_server.services.queue import QueueService


class Check(Protocol):
    """Admission's. ``waits``: whether an engine may be waited for."""

    def __call__(self, spec: RunSpec, waits: bool = True) -> Admitted: ...


@dataclass
class Ports:
    """Everything a stage may touch."""

    database: Database
    clock: Clock
    hub: Hub
    executors: Mapping[str, Executor]
    queue: QueueService
    environments: EnvironmentService
    assignments: AssignmentService
    fence: Fence
    closing: ClosingService
    compute: Callable[[str], ComputeRecord]
    check: Check
    log: Callable[[str, str, str], None]  # run id, log name, text
    wake: Callable[[], None]


@dataclass(frozen=True)
class Move:
    """A stage's decision on a run, made on ``run.version``; void if that has changed meanwhile."""

    run: RunRecord
    to: RunStatus
    reason: Reason
    message: str = ""
    error: RunError | None = None
    attempts: Sequence[AttemptRecord] | None = None
    changes: dict[str, Any] = field(default_factory=dict)


class Stage(Protocol):
    """What happens to runs in one status. ``advance`` never blocks for long; each move is carried out as it comes."""

    def advance(self, runs: Sequence[RunRecord]) -> Iterable[Move]: ...
