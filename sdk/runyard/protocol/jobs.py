"""What the server gives a job, and what a job reports back."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Dict, List, Optional

from runyard.protocol.run_parts import DataReferenceSpec, DistributionSpec, RunError


@dataclass(frozen=True)
class DataMount:
    """A data reference as this node can reach it: ``local_path`` where the store is a folder here."""

    reference: DataReferenceSpec
    local_path: Optional[str] = None


@dataclass(frozen=True)
class JobContainer:
    """The container that a run's ranks run in.

    Attributes:
        image: as the engine on the node names it: with its registry and digest, or an id of an image that is there.
        engine: "podman" or "docker", or the path of one.
        shm_size: of /dev/shm, as the engine reads it ("2g"); None for the engine's own.
        arguments: further ones for the engine's ``run``.
    """

    image: str
    engine: str = "podman"
    shm_size: Optional[str] = None
    arguments: List[str] = field(default_factory=list)


@dataclass(frozen=True)
class NodeInvitation:
    """What a node that does not see the server's folder is told, so that it comes for its job.

    Attributes:
        node: its number; None for the driver of a gang, which is no node of the run.
        ticket: good for one coming: what it is exchanged for does the rest.
        archive: digest of the archive of the SDK that the node is to fetch and check.
        scratch: folder on the node's own disk; variables in it are the node's.
        held: whether the job goes with the process that is told this, however that ends.
    """

    server_url: str
    run_id: str
    attempt: int
    node: Optional[int]
    ticket: str
    archive: str
    scratch: str
    held: bool = False


@dataclass(frozen=True)
class NodeArrival:
    """What such a node says when it comes.

    Attributes:
        claim: a word of its own; the same again (an answer was lost) gets the same job, another one nothing.
        step: the engine's name for its task.
    """

    claim: str
    host: str
    pid: int
    step: str = ""


@dataclass(frozen=True)
class NodeEnd:
    """How the job ended on such a node, or why it could not begin (``began`` False). ``tail``: of its own log."""

    exit_code: Optional[int] = None
    signal: Optional[str] = None
    message: str = ""
    began: bool = True
    tail: str = ""


@dataclass(frozen=True)
class DriverState:
    """What the driver of a gang says over HTTP, whole each time, where it does not see the server's folder.

    A node that is no gang's says so itself that it is about to be taken away.

    Attributes:
        waiting: what it waits for, in words; ``asked`` nodes, of which ``here`` are such.
        begun: all nodes are there, and it takes the attempt.
        taken_back: somebody else had taken it.
        failed: why it could not begin.
        lost: the nodes that were lost, by place: "cause" and "message".
        ended: how what was started on a node ended, by place: exit codes, negative for signals.
        leaving: which of its nodes is about to be taken away, in words.
    """

    waiting: str = ""
    asked: int = 0
    here: int = 0
    begun: bool = False
    taken_back: bool = False
    failed: str = ""
    lost: Dict[str, Dict[str, str]] = field(default_factory=dict)
    ended: Dict[str, int] = field(default_factory=dict)
    leaving: str = ""


@dataclass(frozen=True)
class EnvironmentToBuild:
    """The run's environment, for a node that builds it itself: once, under its key.

    Attributes:
        key: "" for a user-managed one, which is looked for under the name ``interpreter``.
        uv: the program that builds it; "" takes the one on PATH, else the server's own.
        folder: where built ones are kept; the node itself says where that is.
        wheels: what the server has compiled for it, to be fetched there: SHA-256 by file name.
    """

    key: str = ""
    interpreter: str = ""
    python_version: str = ""
    requirements: str = ""
    options: List[str] = field(default_factory=list)
    uv: str = ""
    folder: str = ""
    wheels: Dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class JobAssignment:
    """One node's share of one attempt of a run. Read by ``python -m runyard.job`` from its input.

    Attributes:
        attempt: the fencing number; the server refuses reports of an older one.
        directory: the job's own directory on the node (mode 0700).
        shared_code: the working directory that the ranks of all nodes share; None where each node has its own,
            below ``directory``.
        server_file: file that holds the server's present address, re-read when it is away.
        token: valid for this run alone.
        python: the interpreter of the run's environment on this node, or in its container.
        gpus: indices given to this node; empty hides every GPU.
        grace_s: seconds between SIGTERM and SIGKILL.
        container: what the ranks run in; None where they run on the node itself.
        resume: name of the data reference that holds what the script goes on from; None where there is nothing.
        salvage: 0 for the run's own job; else which one this is of those that collect what a lost job left.
        own_disk: the node shares no folder with the server, nor with others.
        build: the environment that it then makes itself, and whose interpreter takes ``python``'s place; None for an
            image, which it fetches from the registry.
    """

    run_id: str
    attempt: int
    experiment: str
    node: int
    node_count: int
    directory: str
    server_url: str
    token: str
    snapshot: str
    python: str
    sdk_path: str
    workspace: str = ""
    server_file: Optional[str] = None
    script: Optional[str] = None
    command: List[str] = field(default_factory=list)
    arguments: List[str] = field(default_factory=list)
    variables: Dict[str, str] = field(default_factory=dict)
    distribution: DistributionSpec = field(default_factory=DistributionSpec)
    addresses: List[str] = field(default_factory=list)  # of the nodes, by node
    ports: List[int] = field(default_factory=list)  # leased for the run: see distributed/
    gpus: List[int] = field(default_factory=list)
    data: List[DataMount] = field(default_factory=list)
    grace_s: float = 10.0
    heartbeat_s: float = 5.0
    max_run_duration_s: Optional[int] = None
    salvage: int = 0
    shared_code: Optional[str] = None
    container: Optional[JobContainer] = None
    resume: Optional[str] = None
    build: Optional[EnvironmentToBuild] = None
    own_disk: bool = False

    @property
    def keeps_folders(self) -> bool:
        """Whether this node's job collects ``outputs/`` and ``logs/``: its own, or those that all nodes share."""
        return self.shared_code is None or self.node == 0


@dataclass(frozen=True)
class RankReport:
    """One process of the run on this node. ``exit_code`` is None while it runs or when a signal ended it."""

    rank: int
    pid: int
    started_at: float
    ended_at: Optional[float] = None
    exit_code: Optional[int] = None
    signal: Optional[str] = None
    out_of_memory: bool = False


@dataclass(frozen=True)
class JobReport:
    """What a job says of itself, often. Phases: "preparing", "running", "collecting", "done".

    ``sequence`` grows with every report, so that a late one cannot undo a newer one.
    ``written`` counts what the node wrote: bytes by stream name, for ``run.verify()``. ``waits_for``
    says, while it collects, what keeps it: a server without room, say. ``launch`` is said by the
    first node of an MPI run: what the job of each node is to start, by node. ``saved_at``: when the
    last file of ``outputs/`` was written, once that is known.
    """

    attempt: int
    node: int
    sequence: int
    phase: str
    ranks: List[RankReport] = field(default_factory=list)
    error: Optional[RunError] = None
    canceled: bool = False
    timed_out: bool = False
    warnings: List[str] = field(default_factory=list)
    written: Dict[str, int] = field(default_factory=dict)
    waits_for: str = ""
    launch: List[str] = field(default_factory=list)
    saved_at: Optional[float] = None


@dataclass(frozen=True)
class JobReply:
    """The server's answer to a report.

    Attributes:
        cancel: the run is to stop.
        stale: the report was one of an attempt that is over.
        instance: names the server process: another one may have older records than the last.
        workers_done: all ranks that end by themselves have ended well, so that those that serve them are to end.
        launch: what the first node has for this one to start.
        ranks_over: no rank of the run is left on any node.
        stacks: somebody wants to see the ranks' stacks: the name of the folder for them.
        turn: the nodes before this one have stored what they left, or are gone.
    """

    cancel: bool = False
    stale: bool = False
    instance: str = ""
    workers_done: bool = False
    launch: Optional[str] = None
    ranks_over: bool = False
    stacks: Optional[str] = None
    turn: bool = False


class RankState(str, Enum):
    """Where one process of a run stands."""

    WAITING = "waiting"  # it was not started yet, or never was
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True)
class RankStatus:
    """One process of a run, for who looks at it. Times are seconds since the epoch, UTC.

    Attributes:
        name: how files and messages call it: its number, or ``worker_0``.
        log: the log that holds what it prints.
        last_output_at: when that log last grew; None while it is empty, and once the run has ended.
    """

    rank: int
    name: str
    node: int
    state: RankState
    log: str
    started_at: Optional[float] = None
    ended_at: Optional[float] = None
    exit_code: Optional[int] = None
    signal: Optional[str] = None
    last_output_at: Optional[float] = None


@dataclass(frozen=True)
class StackRequest:
    """Stacks that were asked for: they come as ``azureml-logs/stacks/<name>/rank-<rank>.txt``, one for each of ``ranks``."""

    name: str
    ranks: List[str]
