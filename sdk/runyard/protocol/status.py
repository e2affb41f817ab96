"""Statuses of a run (Azure ML's public words) and the reasons that lead to them."""

from enum import Enum


class RunStatus(str, Enum):
    """Where a run is in its life. The value is the public word."""

    NOT_STARTED = "NotStarted"
    STARTING = "Starting"
    PREPARING = "Preparing"
    QUEUED = "Queued"
    RUNNING = "Running"
    FINALIZING = "Finalizing"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELED = "Canceled"
    CANCEL_REQUESTED = "CancelRequested"
    NOT_RESPONDING = "NotResponding"

    @property
    def is_terminal(self) -> bool:
        return self in _TERMINAL

    def __str__(self) -> str:
        return self.value


_TERMINAL = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELED})


class Reason(str, Enum):
    """Why a run moved. Kept with every event; the last one is the run's cause."""

    SUBMITTED = "submitted"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    ENVIRONMENT_READY = "environment_ready"
    ENVIRONMENT_FAILED = "environment_failed"
    NODES_STARTED = "nodes_started"
    START_FAILED = "start_failed"
    SCRIPT_ENDED = "script_ended"
    OUTPUTS_COLLECTED = "outputs_collected"
    SCRIPT_FAILED = "script_failed"
    SIGNALED = "signaled"
    OUT_OF_MEMORY = "out_of_memory"
    PREPARATION_FAILED = "preparation_failed"
    COLLECTION_FAILED = "collection_failed"
    JOB_LOST = "job_lost"
    NODE_LOST = "node_lost"
    PREEMPTED = "preempted"
    RETRIED = "retried"
    GANG_BROKEN = "gang_broken"
    TIME_LIMIT = "time_limit"
    CANCEL_ASKED = "cancel_asked"
    CANCELED = "canceled"
    HEARTBEAT_MISSING = "heartbeat_missing"
    HEARTBEAT_RETURNED = "heartbeat_returned"
    STARTED_INTERACTIVELY = "started_interactively"
    ENDED_BY_CALLER = "ended_by_caller"
    CLIENT_LOST = "client_lost"
    INTERNAL_ERROR = "internal_error"

    def __str__(self) -> str:
        return self.value
