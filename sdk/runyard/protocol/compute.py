"""Compute targets on the wire."""

from dataclasses import dataclass, field
from typing import Dict, List, Optional


@dataclass(frozen=True)
class ComputeSpec:
    """A named cluster as asked for."""

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
