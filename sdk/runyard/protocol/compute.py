"""Compute targets on the wire."""

from dataclasses import dataclass, field
from typing import Dict, List, Optional


@dataclass(frozen=True)
class SlurmSpec:
    """What a target's jobs ask of Slurm: each field is the option of ``sbatch`` of that name; None or 0 leaves it out.

    Attributes:
        gres: what each node must have beside its GPUs, and which GPUs those are: ``"gpu:a100:4"`` says that a node of
            this target has four, of which each run gets as many as it asks for.
        time_limit_min: minutes after which Slurm ends a run's job.
        cpus_per_node, memory_mb: of each node; by default what ``vm_size`` says, else what the partition gives.
        python: the program that starts the job on a node, 3.7 or later.
        setup: lines of shell that each run's script begins with.
        options: further options, each as ``sbatch`` takes it on one line: ``"--nice=10"``.
        max_jobs: jobs that are with Slurm at a time; further runs wait here for their turn.
        scratch: folder on each node's own disk, where variables of the node may stand ("$TMPDIR"): given, the nodes
            need not see the server's folder.
        uv: program there that builds environments; "" takes the one on PATH, else the server's own.
    """

    partition: Optional[str] = None
    account: Optional[str] = None
    qos: Optional[str] = None
    constraint: Optional[str] = None
    reservation: Optional[str] = None
    gres: Optional[str] = None
    time_limit_min: Optional[int] = None
    cpus_per_node: int = 0
    memory_mb: int = 0
    exclusive: bool = False
    python: str = "python3"
    setup: List[str] = field(default_factory=list)
    options: List[str] = field(default_factory=list)
    max_jobs: int = 100
    scratch: str = ""
    uv: str = ""


@dataclass(frozen=True)
class RaySpec:
    """Which Ray cluster a target is, and what its jobs ask of each node.

    Attributes:
        address: of the cluster's dashboard, which has its Jobs API.
        token: the cluster's, only on its way to the server, which keeps it apart; None leaves the one it has.
        cpus_per_node, gpus_per_node, memory_mb: of each node; by default what ``vm_size`` says, else one CPU.
        resources: further ones by the cluster's own names, and how much of each node.
        python: the command that is the cluster's Python on its head.
        max_jobs: jobs that are with Ray at a time; further runs wait here for their turn.
        scratch, uv: as for Slurm.
    """

    address: str
    token: Optional[str] = field(default=None, repr=False)
    cpus_per_node: int = 0
    gpus_per_node: int = 0
    memory_mb: int = 0
    resources: Dict[str, float] = field(default_factory=dict)
    python: str = "python"
    max_jobs: int = 20
    scratch: str = ""
    uv: str = ""


@dataclass(frozen=True)
class ComputeSpec:
    """A named cluster as asked for. ``max_nodes`` 0: as many as the engine has, where it can tell."""

    name: str
    vm_size: str = ""
    vm_priority: str = "dedicated"
    min_nodes: int = 0
    max_nodes: int = 1
    idle_seconds_before_scaledown: Optional[int] = 1800
    executor: Optional[str] = None
    strict: bool = False  # refuse GPUs that are not here instead of running without
    tags: Dict[str, str] = field(default_factory=dict)
    description: Optional[str] = None
    type: str = "AmlCompute"
    slurm: Optional[SlurmSpec] = None
    ray: Optional[RaySpec] = None

    @property
    def scratch(self) -> str:
        """Where its nodes keep what they fetch; "" for nodes that see the server's folder."""
        return self.slurm.scratch if self.slurm is not None else self.ray.scratch if self.ray is not None else ""

    @property
    def uv(self) -> str:
        """The program that builds environments on such nodes; "" for the usual one."""
        return self.slurm.uv if self.slurm is not None else self.ray.uv if self.ray is not None else ""


@dataclass(frozen=True)
class ComputeChanges:
    """What ``update`` may change; None leaves a field alone."""

    min_nodes: Optional[int] = None
    max_nodes: Optional[int] = None
    idle_seconds_before_scaledown: Optional[int] = None


@dataclass(frozen=True)
class ComputeRecord:
    """A compute target and what it does now. Times in seconds since the epoch.

    ``nodes_ready``: nodes that a run can have without waiting for machines, those in use included.
    """

    spec: ComputeSpec
    executor: str
    provisioning_state: str
    created_at: float
    modified_at: float
    state_changed_at: float
    nodes_running: int = 0
    nodes_idle: int = 0
    nodes_preparing: int = 0
    nodes_leaving: int = 0
    nodes_unusable: int = 0
    nodes_ready: int = 0
    gpus_per_node: int = 0
    warnings: List[str] = field(default_factory=list)
    errors: List[str] = field(default_factory=list)


@dataclass(frozen=True)
class ComputeNode:
    """A node that is in use. ``state`` is "running"; ``gpus`` the indices that its run was given."""

    name: str
    state: str
    run_id: str
    gpus: List[int] = field(default_factory=list)


@dataclass(frozen=True)
class VmSizeRecord:
    """A node shape that ``vm_size`` takes. ``memory_gb`` in units of 10^9 bytes."""

    name: str
    cpus: int
    memory_gb: float
    gpus: int = 0
