"""A run as it is asked for (spec) and as it is known (record)."""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

from runyard.protocol.datasets import DatasetOutput, DatasetUse
from runyard.protocol.environments import EnvironmentSpec
from runyard.protocol.run_parts import DataReferenceSpec as DataReferenceSpec
from runyard.protocol.run_parts import DistributionSpec as DistributionSpec
from runyard.protocol.run_parts import RunError as RunError
from runyard.protocol.status import Reason, RunStatus

# Besides a number, what ``RunSpec.gpus_per_node`` may be:
ALL_GPUS = -1  # GPUs are asked for: all that a node of the compute target has, one where it has no shape
GPUS_OF_SHAPE = -2  # nothing was said of GPUs: what a node of the compute target has, none where it has none

# Causes of an attempt's end after which another one follows, where a run may have several, and those that it must ask for.
LOSSES = (Reason.NODE_LOST.value, Reason.JOB_LOST.value, Reason.PREEMPTED.value)
ASKED_FOR = (
    Reason.SCRIPT_FAILED.value,
    Reason.SIGNALED.value,
    Reason.OUT_OF_MEMORY.value,
    Reason.TIME_LIMIT.value,
    Reason.PREPARATION_FAILED.value,
    Reason.COLLECTION_FAILED.value,
)

# What ``DataReferenceSpec.datastore`` is where its files are a run's:
RUN_FILES = "workspaceartifactstore"

# Azure's name of the data reference that ``resume_from`` makes: scripts also read AZUREML_DATAREFERENCE_MODEL_LOCATION.
RESUMED = "MODEL_LOCATION"


@dataclass(frozen=True)
class RetrySpec:
    """When a run whose attempt has ended badly is tried again.

    Attributes:
        max_attempts: attempts in all, the first among them.
        causes: further causes, of ``ASKED_FOR``, besides ``LOSSES``.
    """

    max_attempts: int = 1
    causes: List[str] = field(default_factory=list)


@dataclass(frozen=True)
class RunSpec:
    """Everything that a run needs to be made, and made again.

    Attributes:
        gpus_per_node: what is asked for: a number, ALL_GPUS or GPUS_OF_SHAPE.
        gpus_granted: said by the server, where an engine that gives GPUs out itself has fewer on a node: so many are
            asked of it. A rerun is granted anew.
        id: chosen by whoever submits, so that a submission that is sent twice makes one run.
    """

    experiment: str
    snapshot: str
    script: Optional[str] = None
    command: List[str] = field(default_factory=list)
    arguments: List[str] = field(default_factory=list)
    target: str = "local"
    environment: EnvironmentSpec = field(default_factory=EnvironmentSpec)
    environment_key: Optional[str] = None  # set by a rerun: this exact lock, no new resolve
    node_count: int = 1
    distribution: DistributionSpec = field(default_factory=DistributionSpec)
    gpus_per_node: int = 0
    gpus_granted: Optional[int] = None
    priority: int = 0
    max_run_duration_s: Optional[int] = None
    data_references: List[DataReferenceSpec] = field(default_factory=list)
    source_directory: str = ""
    tags: Dict[str, str] = field(default_factory=dict)
    properties: Dict[str, str] = field(default_factory=dict)
    parent: Optional[str] = None
    display_name: Optional[str] = None
    rerun_of: Optional[str] = None
    id: Optional[str] = None
    input_datasets: List[DatasetUse] = field(default_factory=list)
    output_datasets: List[DatasetOutput] = field(default_factory=list)
    retry: RetrySpec = field(default_factory=RetrySpec)
    run_config: Dict[str, Any] = field(default_factory=dict)  # what get_details()["runDefinition"] adds


@dataclass(frozen=True)
class RunEvent:
    """One move of a run: written by ``move()`` alone."""

    at: float
    from_status: RunStatus
    to_status: RunStatus
    reason: str
    message: str = ""
    by: str = ""


@dataclass(frozen=True)
class AttemptRecord:
    """An attempt that has ended, of a run that may have several. Times are seconds since the epoch, UTC.

    Attributes:
        reason: its cause; ``message`` says it in words.
        saved_at: when the last file of its ``outputs/`` was written; None where it left none.
        lost_work_s: from then on, or else from its start, until its end was seen: what the next attempt does again.
            None where it never began.
    """

    number: int
    reason: str
    message: str
    ended_at: float
    started_at: Optional[float] = None
    saved_at: Optional[float] = None
    lost_work_s: Optional[float] = None


@dataclass(frozen=True)
class RunRecord:
    """What is known of a run. Times are seconds since the epoch, UTC."""

    id: str
    number: int
    experiment: str
    type: str
    status: RunStatus
    created_at: float
    version: int
    attempt: int = 1
    parent_id: Optional[str] = None
    display_name: Optional[str] = None
    description: Optional[str] = None
    reason: Optional[str] = None
    message: Optional[str] = None
    started_at: Optional[float] = None
    ended_at: Optional[float] = None
    target: Optional[str] = None
    submitted_by: Optional[str] = None
    snapshot: Optional[str] = None
    environment_key: Optional[str] = None
    spec: Optional[RunSpec] = None
    error: Optional[RunError] = None
    warnings: List[str] = field(default_factory=list)
    tags: Dict[str, str] = field(default_factory=dict)
    properties: Dict[str, str] = field(default_factory=dict)
    attempts: List[AttemptRecord] = field(default_factory=list)  # those that have ended, if it may have several
    archived_at: Optional[float] = None  # hidden from lists since then
    files_removed_at: Optional[float] = None  # by a retention rule: what it had in outputs and logs is gone


@dataclass(frozen=True)
class DeletedRun:
    """What is kept of a run that was deleted: that it was, when it was deleted, by whom and why."""

    id: str
    experiment: str
    number: int
    type: str
    status: RunStatus
    created_at: float
    deleted_at: float
    deleted_by: str
    reason: str
    parent_id: Optional[str] = None
    submitted_by: Optional[str] = None
    ended_at: Optional[float] = None


@dataclass(frozen=True)
class ClientProcess:
    """The process behind an interactive run, so that its death is noticed on the same machine.

    Attributes:
        machine: names the boot and process namespace in which ``pid`` means something.
        start_ticks: the process's start time in clock ticks, against a reused pid.
    """

    pid: int
    start_ticks: int
    machine: str


@dataclass(frozen=True)
class InteractiveRunSpec:
    """A run whose process the caller itself is (``start_logging``, ``child_run``)."""

    experiment: str
    id: Optional[str] = None
    parent: Optional[str] = None
    display_name: Optional[str] = None
    snapshot: Optional[str] = None
    tags: Dict[str, str] = field(default_factory=dict)
    properties: Dict[str, str] = field(default_factory=dict)
    process: Optional[ClientProcess] = None


@dataclass(frozen=True)
class RunChanges:
    """What a person may change on a run. None leaves a field alone; properties are only added."""

    tags: Optional[Dict[str, str]] = None
    remove_tags: Optional[List[str]] = None
    properties: Optional[Dict[str, str]] = None
    display_name: Optional[str] = None
    description: Optional[str] = None
    archived: Optional[bool] = None
