"""What a place that runs jobs must do, and the words for it. It knows no run status and no record.

An executor is a stateless translator between jobs and one engine: everything it needs to know of
a job again is in its handle, so that another server process may go on with it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from runyard.errors import ComputeTargetException, RunyardError
from runyard.protocol.codec import to_json
from runyard.protocol.compute import ComputeSpec
from runyard.protocol.jobs import JobAssignment, NodeInvitation
from runyard.protocol.status import Reason
from runyard_server.domain.gpus import Gpu


class Ability(Enum):
    """What an executor can do beyond running one node without GPU."""

    MULTI_NODE = "multi_node"  # all nodes of a gang, or none
    GPUS = "gpus"  # gives GPUs out by index
    SHARED_FOLDER = "shared_folder"  # the nodes of a gang see each other's directories
    ONE_HOST = "one_host"  # its nodes are the server's own machine
    QUEUES = "queues"  # its engine has a queue of its own: what was started may be PENDING for long
    RESIZE = "resize"  # brings and removes nodes: it is a ResizableExecutor


class JobState(Enum):
    """An engine's view of a job, after its own words were translated."""

    PENDING = "pending"  # the engine has it and has not started it
    RUNNING = "running"
    ENDED = "ended"  # it ended and how is known
    LOST = "lost"  # it is gone and how it ended is not known

    @property
    def is_over(self) -> bool:
        return self in (JobState.ENDED, JobState.LOST)


@dataclass(frozen=True)
class JobRequest:
    """An attempt of a run to be started: one assignment per node.

    Attributes:
        argv: replaces the job's own command: the contract suite runs stand-ins with it.
        target: the compute target, for an engine that must know what its nodes are to be.
        gpus_per_node: to be asked of an engine that gives GPUs out itself.
        invitations: one per node, where the nodes do not see the server's folder.
        driver_invitation: there, for a gang: of its driver, where the engine has one.
    """

    run_id: str
    attempt: int
    assignments: list[JobAssignment]
    argv: list[str] | None = None
    target: ComputeSpec | None = None
    gpus_per_node: int = 0
    invitations: list[NodeInvitation] = field(default_factory=list)
    driver_invitation: NodeInvitation | None = None


@dataclass(frozen=True)
class NodePlan:
    """What would be started on one node. ``env`` holds only the variables that we set."""

    directory: str
    argv: list[str]
    env: dict[str, str]
    assignment: JobAssignment
    gpus: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class JobPlan:
    """What an executor would do: a value, made without touching the engine. ``script``: what the engine would get."""

    run_id: str
    attempt: int
    nodes: list[NodePlan]
    script: str = ""

    def shown(self) -> list[dict[str, Any]]:
        """For people (``--dry-run``): one JSON object per node, without the run's token."""
        return [
            {
                "node": plan.assignment.node,
                "directory": plan.directory,
                "argv": plan.argv,
                "env": plan.env,
                "gpus": plan.gpus,
                "script": plan.assignment.script,
                "arguments": plan.assignment.arguments,
                "distribution": to_json(plan.assignment.distribution),
            }
            for plan in self.nodes
        ]


@dataclass(frozen=True)
class JobHandle:
    """One started job. JSON by ``runyard.protocol.codec``; usable as a dictionary's key.

    ``job_id`` is the engine's own word and is read by the executor that gave it alone.
    """

    executor: str
    run_id: str
    attempt: int
    node: int
    directory: str
    job_id: str


@dataclass(frozen=True)
class JobObservation:
    """What was seen of a job. ``exit_code`` and ``signal`` ("SIGKILL") exclude each other.

    Attributes:
        message: how it ended; of one that waits, for what.
        cause: why it ended, where the engine itself ended it.
        began: False for one that is over and was never started on any node: it has left nothing.
    """

    state: JobState
    exit_code: int | None = None
    signal: str | None = None
    message: str = ""
    cause: Reason | None = None
    began: bool = True


@dataclass(frozen=True)
class Inventory:
    """What an executor can give now. ``nodes`` None: as many as are asked for."""

    nodes: int | None = None
    cpus: int = 0
    gpus: list[Gpu] = field(default_factory=list)


@dataclass(frozen=True)
class NodeCounts:
    """How many nodes of a compute target are in which state."""

    running: int = 0
    idle: int = 0
    preparing: int = 0
    leaving: int = 0
    unusable: int = 0


class EngineAwayError(RunyardError):
    """The engine does not answer, or takes no more, now; what was asked may be asked again."""

    code = "engine_away"


class StartFailedError(RunyardError):
    """No node of the attempt runs; the message says what the engine said."""

    code = "start_failed"


class Executor(ABC):
    """Runs jobs on one engine. Safe to call from several threads.

    ``name`` is its key in the registry, ``abilities`` what it promises; both are class attributes.
    """

    name: str
    abilities: frozenset[Ability]

    @abstractmethod
    def plan(self, request: JobRequest) -> JobPlan:
        """What ``start`` would do. Touches nothing.

        Raises:
            ComputeTargetException: the request is beyond the executor's abilities.
        """

    def check(self, spec: ComputeSpec) -> ComputeSpec:
        """The compute target as this engine can have it.

        Raises:
            ComputeTargetException: it cannot; the message says what it has.
            EngineAwayError: it cannot be asked.
        """
        for engine, options in (("Slurm", spec.slurm), ("Ray", spec.ray)):
            if options is not None and engine.lower() != self.name:
                raise ComputeTargetException(
                    f"The options of {engine} mean nothing to the executor {self.name!r}. "
                    f"Leave them out, or use {engine.lower()!r}."
                )
        if spec.scratch and (spec.scratch[0] not in "/$~" or not spec.scratch.isprintable()):
            raise ComputeTargetException(
                f"scratch is a folder on each node, from its root on ('/scratch/$USER', '$TMPDIR'); this is "
                f"{spec.scratch!r}."
            )
        if spec.uv and not spec.scratch:
            raise ComputeTargetException(
                "uv is for nodes that do not see the server's folder: name their scratch too, or leave uv out."
            )
        return spec

    def count_nodes(self, spec: ComputeSpec) -> NodeCounts | None:
        """The target's nodes by state; None where the engine does not tell, and those that runs hold are all.

        Raises:
            EngineAwayError: it cannot be asked.
        """
        return None

    def most_gpus(self, spec: ComputeSpec, waits: bool = True) -> int | None:
        """The most GPUs that a node of the target has, for an engine that gives them out itself; None: not known.

        Args:
            waits: whether the engine may be asked; else what it answered a moment ago has to do.
        Raises:
            EngineAwayError: it cannot be asked.
        """
        return None

    @abstractmethod
    def start(self, plan: JobPlan) -> list[JobHandle]:
        """Starts every node of the plan, or none; one handle per node, in the plan's order.

        Called again for the same run, attempt and node (after a server died before it had written
        the handle down) it gives the handle of the job that is there instead of a second one.

        Raises:
            StartFailedError: a node could not be started; the others were ended again.
            EngineAwayError: the engine does not answer; whether the jobs were started shows when it does.
        """

    @abstractmethod
    def observe(self, handles: Iterable[JobHandle]) -> dict[JobHandle, JobObservation]:
        """The present state of each job, many with one look at the engine. One that cannot be told now is missing.

        Once a job is reported as over, no process of it is left.

        Raises:
            EngineAwayError: the engine does not answer; its jobs may go on.
        """

    @abstractmethod
    def cancel(self, handles: Sequence[JobHandle], firmly: bool) -> None:
        """Asks the jobs to end (they stop their ranks and report), or ends them and all they started.

        Harmless for a job that is over, and any number of times. One that has not begun is taken back.

        Raises:
            EngineAwayError: the engine does not answer.
        """

    @abstractmethod
    def inventory(self) -> Inventory:
        """Nodes and GPUs as they are now."""

    def prepare(self) -> None:  # noqa: B027 -- most have nothing to prepare
        """Gets ready to start jobs quickly; called once when a server starts."""

    def close(self) -> None:  # noqa: B027 -- most hold nothing
        """Frees what the executor itself holds. Jobs go on."""


class ResizableExecutor(Executor):
    """An executor with ``Ability.RESIZE``."""

    @abstractmethod
    def resize(self, target: str, nodes: int) -> None:
        """Asks for ``nodes`` standing nodes in the compute target; returns before they are there."""
