"""Ray's words in ours: states of jobs, and how a node of a run was lost. One table each.

The words are those of Ray's JobStatus and JobErrorType, and of ``runyard.job.ray_gang``.
"""

from dataclasses import dataclass

from runyard.job import ray_gang
from runyard.protocol.status import Reason
from runyard_server.executors.base import JobState


@dataclass(frozen=True)
class Meaning:
    """What a state of Ray's says of a job. ``words``: how it ended, to follow "Ray's job a.1 "."""

    state: JobState
    words: str = ""


SCALING = "is scaling"  # what it says is followed by what it waits for
JOB_STATES: dict[str, Meaning] = {
    "PENDING": Meaning(JobState.PENDING, "waits for its driver to be started on the head"),
    "RUNNING": Meaning(JobState.RUNNING),
    "SUCCEEDED": Meaning(JobState.ENDED, "ended"),
    "FAILED": Meaning(JobState.ENDED, "failed"),
    "STOPPED": Meaning(JobState.ENDED, "was stopped"),
}
# One that a newer Ray has and we do not know: the job is there, its reports say what it does.
UNKNOWN_STATE = Meaning(JobState.RUNNING)

# How a job that has failed did so, where Ray itself knows better than its exit code.
JOB_ERRORS: dict[str, str] = {
    "RUNTIME_ENV_SETUP_FAILURE": "could not be set up",
    "JOB_SUPERVISOR_ACTOR_START_TIMEOUT": "was not started in time",
    "JOB_SUPERVISOR_ACTOR_START_FAILURE": "could not be started",
    "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE": "found no node for its driver",
    "JOB_SUPERVISOR_ACTOR_DIED": "lost its driver: the node that it stood on died, or somebody ended it",
    "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE": "lost its driver",
    "JOB_ENTRYPOINT_COMMAND_START_ERROR": "has a driver that could not be started",
    "JOB_ENTRYPOINT_COMMAND_ERROR": "failed",
}

# What the driver says of a node that it has lost.
LOSSES: dict[str, Reason | None] = {
    ray_gang.NODE_LOST: Reason.NODE_LOST,
    ray_gang.PREEMPTED: Reason.PREEMPTED,
    ray_gang.OUT_OF_MEMORY: Reason.OUT_OF_MEMORY,
    ray_gang.TAKEN_AWAY: None,
}


def job_meaning(status: str) -> Meaning:
    """What a job's state says."""
    return JOB_STATES.get(status, UNKNOWN_STATE)
