"""Slurm's words in ours: states of jobs and of nodes, and what a job waits for. One table each.

The words are those of https://slurm.schedmd.com/squeue.html (job state codes), sinfo.html (node state codes) and
job_reason_codes.html.
"""

import re
from dataclasses import dataclass

from runyard.protocol.status import Reason
from runyard_server.executors.base import JobState


@dataclass(frozen=True)
class Meaning:
    """What a state of Slurm's says of a job.

    Attributes:
        words: how it ended, to follow "Slurm's job 12 "; what it waits for.
        cause: why, where Slurm itself ended it.
    """

    state: JobState
    words: str = ""
    cause: Reason | None = None


SCALING = "is scaling: its nodes are being started"
_PENDING = Meaning(JobState.PENDING)
_RUNNING = Meaning(JobState.RUNNING)

JOB_STATES: dict[str, Meaning] = {
    "PENDING": _PENDING,
    "CONFIGURING": Meaning(JobState.PENDING, SCALING),
    "REQUEUED": Meaning(JobState.PENDING, "was put back into the queue by Slurm"),
    "REQUEUE_FED": Meaning(JobState.PENDING, "was put back into the queue by its federation"),
    "REQUEUE_HOLD": Meaning(JobState.PENDING, "was put back and is held; `scontrol release` lets it go on"),
    "SPECIAL_EXIT": Meaning(JobState.PENDING, "was put back and is held in a special state"),
    "RESV_DEL_HOLD": Meaning(JobState.PENDING, "is held: its reservation was deleted"),
    "RUNNING": _RUNNING,
    "COMPLETING": _RUNNING,
    "STAGE_OUT": _RUNNING,
    "SIGNALING": _RUNNING,
    "RESIZING": _RUNNING,
    "SUSPENDED": Meaning(JobState.RUNNING, "is suspended by Slurm"),
    "STOPPED": Meaning(JobState.RUNNING, "is stopped and keeps its nodes"),
    "COMPLETED": Meaning(JobState.ENDED),
    "FAILED": Meaning(JobState.ENDED, "failed"),
    "CANCELLED": Meaning(JobState.ENDED, "was cancelled"),
    "TIMEOUT": Meaning(JobState.ENDED, "reached its time limit and was ended by Slurm", Reason.TIME_LIMIT),
    "DEADLINE": Meaning(JobState.ENDED, "reached its deadline and was ended by Slurm", Reason.TIME_LIMIT),
    "PREEMPTED": Meaning(JobState.ENDED, "was preempted by a job of higher priority", Reason.PREEMPTED),
    "NODE_FAIL": Meaning(JobState.LOST, "lost a node, which failed", Reason.NODE_LOST),
    "BOOT_FAIL": Meaning(JobState.LOST, "was given a node that did not start", Reason.NODE_LOST),
    "LAUNCH_FAILED": Meaning(JobState.LOST, "could not be launched on its nodes", Reason.NODE_LOST),
    "RECONFIG_FAIL": Meaning(JobState.LOST, "was given a node that could not be configured", Reason.NODE_LOST),
    "OUT_OF_MEMORY": Meaning(JobState.ENDED, "used more memory than it was given", Reason.OUT_OF_MEMORY),
    "REVOKED": Meaning(JobState.LOST, "was taken over by another cluster of the federation"),
}
# One that a newer Slurm has and we do not know: the job is there, its reports say what it does.
UNKNOWN_STATE = _RUNNING

# What a job waits for. A reason that is not here is shown as Slurm gives it.
PENDING_REASONS: dict[str, str] = {
    "None": "Slurm has not looked at it yet",
    "Resources": "waits for nodes to become free",
    "Priority": "waits behind jobs of higher priority",
    "BeginTime": "waits for its begin time",
    "Dependency": "waits for another job",
    "DependencyNeverSatisfied": "waits for another job that can never end as it should: cancel the run",
    "Licenses": "waits for a licence",
    "Reservation": "waits for its reservation to begin",
    "ReservationDeleted": "its reservation was deleted: cancel the run",
    "ReqNodeNotAvail": "the nodes that it needs are down, drained or reserved",
    "NodeDown": "a node that it needs is down",
    "BadConstraints": "no node has what it asks for: cancel the run, and look at constraint, gres and vm_size",
    "PartitionConfig": "asks for more than the partition gives",
    "PartitionNodeLimit": "asks for more nodes than the partition gives one job: cancel the run, or ask for fewer",
    "PartitionTimeLimit": "its time limit is longer than the partition's: cancel the run, or lower time_limit_min",
    "PartitionDown": "the partition is down",
    "PartitionInactive": "the partition takes no jobs now",
    "JobHeldUser": "is held by its user; `scontrol release` lets it go on",
    "JobHeldAdmin": "is held by an administrator",
    "JobArrayTaskLimit": "waits for other tasks of its array",
    "InvalidAccount": "its account is not valid: cancel the run, and look at account",
    "InvalidQOS": "its QoS is not valid: cancel the run, and look at qos",
    "AccountNotAllowed": "its account may not use the partition",
    "AccountingPolicy": "waits until an accounting limit allows it",
    "QOSNotAllowed": "its QoS may not be used in the partition",
    "JobLaunchFailure": "could not be launched on its nodes",
    "Prolog": "waits for its node's prolog to end",
    "Cleaning": "waits for an earlier try to be cleaned up",
    "SystemFailure": "Slurm itself has failed: its administrator must look",
    "NodesFederation": "waits for another cluster of the federation",
}
# Limits on what one job may ask for, which no waiting helps: QOSMaxWallDurationPerJobLimit, QOSMinGRES, MaxMemPerLimit.
_NEVER = re.compile(r"PerJob|PerNode|^QOSMin|^MaxMemPerLimit")
_TOO_MUCH = "asks for what its QoS or account gives no single job: cancel the run, and ask for less, or for another qos"
# Limits come in hundreds of names: QOSMaxJobsPerUserLimit, AssocGrpCPUMinutesLimit, MaxMemPerLimit ...
_LIMITS = {
    "QOS": "waits until a limit of its QoS allows it",
    "Assoc": "waits until a limit of its account allows it",
    "Max": "waits until a limit allows it",
}

IDLE, RUNNING, PREPARING, LEAVING, UNUSABLE = "idle", "running", "preparing", "leaving", "unusable"
NODE_STATES: dict[str, str] = {
    "IDLE": IDLE,
    "PLANNED": IDLE,  # kept free for a job that starts soon
    "ALLOCATED": RUNNING,
    "MIXED": RUNNING,
    "COMPLETING": RUNNING,
    "POWERING_UP": PREPARING,
    "REBOOT": PREPARING,
    "REBOOT_ISSUED": PREPARING,
    "REBOOT_REQUESTED": PREPARING,
    "POWERING_DOWN": LEAVING,
    "POWER_DOWN": LEAVING,
    "POWERED_DOWN": "",  # a cloud's, which nobody pays for: it is not there
    "FUTURE": "",
    "DRAINING": UNUSABLE,
    "DRAINED": UNUSABLE,
    "DOWN": UNUSABLE,
    "FAIL": UNUSABLE,
    "FAILING": UNUSABLE,
    "ERROR": UNUSABLE,
    "INVAL": UNUSABLE,
    "MAINT": UNUSABLE,
    "RESERVED": UNUSABLE,
    "BLOCKED": UNUSABLE,
    "PERFCTRS": UNUSABLE,
    "UNKNOWN": UNUSABLE,
}
# What sinfo hangs onto a state; the first one that is found decides.
_MARKS = {
    "#": PREPARING,
    "%": LEAVING,
    "!": LEAVING,
    "~": "",
    "*": UNUSABLE,
    "@": PREPARING,
    "^": PREPARING,
    "$": UNUSABLE,
    "-": IDLE,
    "+": RUNNING,
}


def job_meaning(state: str, is_preempted: bool = False) -> Meaning:
    """What a state as squeue or sacct print it says; sacct adds by whom a job was cancelled.

    Args:
        is_preempted: whether it was told to make room. Slurm calls one that did so in time COMPLETED, FAILED or
            CANCELLED, as it ended.
    """
    known = JOB_STATES.get(state.split(" ")[0].rstrip("+"), UNKNOWN_STATE)
    return JOB_STATES["PREEMPTED"] if is_preempted and known.state.is_over and known.cause is None else known


def waits_for(reason: str) -> str:
    """What a job waits for, in words with Slurm's own beside."""
    word = reason.strip("()").partition(",")[0].partition(" ")[0]
    known = PENDING_REASONS.get(word)
    if known is None and word.startswith(tuple(_LIMITS)) and _NEVER.search(word):
        known = _TOO_MUCH
    if known is None:
        known = next((words for start, words in _LIMITS.items() if word.startswith(start)), "waits")
    return f"{known} ({reason.strip('()') or 'None'})"


def is_here(state: str) -> bool:
    """Whether a node's state is that of one that can run something: neither away nor on its way."""
    return node_state(state) in (IDLE, RUNNING)


def node_state(state: str) -> str:
    """One of our words for a node's state as ``sinfo -o %T`` prints it, "" for a node that is not there."""
    word = state.upper().rstrip("*~#!%$@^-+")
    marks = state[len(word) :]
    for mark, meaning in _MARKS.items():
        if mark in marks:
            return meaning
    return NODE_STATES.get(word, UNUSABLE)
