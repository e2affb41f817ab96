"""What a run's jobs, as seen and as heard, say about the run. Pure: no clock, no engine, no record."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from runyard.protocol.jobs import JobReport
from runyard.protocol.runs import RunError
from runyard.protocol.status import Reason, RunStatus

HEARTBEAT_LIMIT_S = 30.0
REACH_LIMIT_S = 120.0  # how long a job that its engine has started may take to say its first word
MAX_SALVAGES = 3  # jobs that try to collect what a lost one left, before its node is given up


@dataclass(frozen=True)
class NodeView:
    """One node of an attempt.

    Attributes:
        report: the newest that its job sent.
        is_over: its job's process is gone; ``cause`` says how that looked.
        salvages: how many further jobs were started to collect what the first one left.
        silent_s: seconds for which nothing was heard of it.
        engine_cause: why its engine has ended its job, where it was the engine.
        began: False where its job is over and was never started: there is nothing to collect.
        is_cut_off: its engine has started it, and yet it has never been heard of: its node does not reach the server.
        on_own_disk: what it had not sent yet is out of the server's reach once its job is gone.
        heard_at: when it was last heard of, in seconds since the epoch; None where it never was.
        engine_tells: whether its engine may end jobs by itself, and says so when they are over.
    """

    node: int
    report: JobReport | None
    is_over: bool
    cause: str = ""
    salvages: int = 0
    silent_s: float = 0.0
    engine_cause: Reason | None = None
    began: bool = True
    engine_tells: bool = False
    is_cut_off: bool = False
    on_own_disk: bool = False
    heard_at: float | None = None

    @property
    def awaits_engine(self) -> bool:
        """Somebody else has ended its ranks, and its engine has not said yet whether that was itself."""
        if not self.engine_tells or self.is_over or self.report is None:
            return False
        error = self.report.error
        return self.report.canceled or (error is not None and error.signal is not None)

    @property
    def is_done(self) -> bool:
        """Its job has collected and shipped everything."""
        return self.report is not None and self.report.phase == "done"

    @property
    def has_ended(self) -> bool:
        """Its ranks have ended, or can no longer be running."""
        collects = self.report is not None and self.report.phase in ("collecting", "done")
        return self.is_over or self.salvages > 0 or collects

    @property
    def is_silent(self) -> bool:
        """Whether its heartbeats are missing, though its process may be there."""
        return not self.is_over and not self.is_done and self.silent_s > HEARTBEAT_LIMIT_S

    @property
    def is_lost(self) -> bool:
        """Its job is gone without a last word."""
        return self.is_over and not self.is_done

    @property
    def has_lost_its_ranks(self) -> bool:
        """Its job is gone, and nobody saw how its ranks ended."""
        return self.is_lost and (self.report is None or self.report.phase not in ("collecting", "done"))


# Codes of errors that say that a job is gone, whatever its ranks did.
LOSSES = frozenset({Reason.JOB_LOST.value, Reason.NODE_LOST.value, Reason.PREEMPTED.value})


class Next(Enum):
    """What to do about a run that is Running."""

    GO_ON = "go_on"
    END_GANG = "end_gang"  # some node has failed: ask the others to end
    FINALIZE = "finalize"
    NOT_RESPONDING = "not_responding"


def judge(nodes: Sequence[NodeView]) -> Next:
    """What the nodes of a running attempt call for."""
    if all(node.has_ended for node in nodes):
        return Next.FINALIZE
    if any(node.is_lost or node.is_cut_off or _failed(node) for node in nodes):
        return Next.END_GANG
    if any(node.is_silent and not node.has_ended for node in nodes):
        return Next.NOT_RESPONDING
    return Next.GO_ON


def must_be_ended(node: NodeView) -> bool:
    """Whether a node of a run that is to end still does something else than collecting what it wrote."""
    return not node.has_ended or node.is_silent


def needs_salvage(node: NodeView) -> bool:
    """Whether another job is to collect what this one left behind."""
    return node.is_lost and node.began and node.salvages < MAX_SALVAGES


def is_settled(node: NodeView) -> bool:
    """Whether nothing more will come from this node."""
    return node.is_done or (node.is_lost and (node.salvages >= MAX_SALVAGES or not node.began))


@dataclass(frozen=True)
class Verdict:
    """How a run ended."""

    status: RunStatus
    reason: Reason
    error: RunError | None = None


def verdict(nodes: Sequence[NodeView], known: RunError | None, cancelled: bool) -> Verdict:
    """How a run ended, once every node is settled.

    A cancelled run is Canceled whatever its script made of the signal. Else an error that was
    already known (the job was lost; the script called ``run.fail``) comes first, then the rank
    that failed first. Where the engine has ended the job, that is why they failed.
    """
    if cancelled:
        return Verdict(RunStatus.CANCELED, Reason.CANCELED)
    error = known or first_error(nodes) or _stopped_error(nodes) or _uncollected_error(nodes)
    if error is None:
        return Verdict(RunStatus.COMPLETED, Reason.OUTPUTS_COLLECTED)
    ended = next((node for node in nodes if node.engine_cause is not None), None)
    if ended is not None and ended.engine_cause is not None:
        error = replace(error, code=ended.engine_cause.value, message=_kept(ended, ended.cause))
    return Verdict(RunStatus.FAILED, _reason_of(error), error)


def first_error(nodes: Sequence[NodeView]) -> RunError | None:
    """The error of the rank that failed first; else that of a lost job; else what another node made of that.

    A rank that failed when another node was not heard of any more has failed for that: its peers were gone.
    """
    failed = [(_first_end(node.report), node.report.error) for node in nodes if node.report and node.report.error]
    silences = [node.heard_at for node in nodes if node.has_lost_its_ranks and node.heard_at is not None]
    gone_since = min(silences, default=float("inf"))
    own = [(at, error) for at, error in failed if error.code != Reason.GANG_BROKEN.value]
    before = sorted(((at, error) for at, error in own if at <= gone_since), key=lambda pair: pair[0])
    first = before[0][1] if before else lost_error(nodes)
    return first or next((error for _, error in failed if error.code == Reason.GANG_BROKEN.value), None)


def lost_error(nodes: Sequence[NodeView]) -> RunError | None:
    """The error of an attempt that lost a job while its ranks ran, None if it lost none."""
    for node in nodes:
        if node.has_lost_its_ranks:
            what = node.cause.rstrip(".") or "its process is gone"
            if not node.began and node.engine_cause is None:
                return RunError(code=Reason.START_FAILED.value, message=f"{what}.")
            if node.engine_cause is not None:
                return RunError(code=node.engine_cause.value, message=_kept(node, what))
            return RunError(
                code=Reason.JOB_LOST.value,
                message=_kept(node, f"The job on node {node.node} ended without a last word: {what}"),
            )
    return None


def _kept(node: NodeView, what: str) -> str:
    if node.on_own_disk:
        return f"{what.rstrip('.')}. What it had logged until then was kept; its outputs were on the node's own disk."
    return f"{what.rstrip('.')}. What it had written was kept."


def _stopped_error(nodes: Sequence[NodeView]) -> RunError | None:
    """The error of an attempt that somebody ended who is not us: a machine that shuts down, say."""
    for node in nodes:
        if node.report is not None and node.report.canceled:
            return RunError(
                code=Reason.SIGNALED.value,
                message=f"The job on node {node.node} was told to end (SIGTERM) by somebody other than runyard, "
                "for instance a machine that was shut down. Its script was ended with it.",
                signal="SIGTERM",
            )
    return None


def _uncollected_error(nodes: Sequence[NodeView]) -> RunError | None:
    """The error of an attempt whose script ended well, but what it left could not be collected."""
    for node in nodes:
        if node.is_lost:
            what = node.cause.rstrip(".") or "its process is gone"
            more = f"{node.salvages} further jobs did not manage it either."
            if node.on_own_disk:
                more = "The rest lies on the node's own disk, if that is there still."
            return RunError(
                code=Reason.COLLECTION_FAILED.value,
                message=f"The job on node {node.node} ended before everything was collected: {what}. {more}",
            )
    return None


def _failed(node: NodeView) -> bool:
    return node.report is not None and (node.report.error is not None or node.report.timed_out)


def _first_end(report: JobReport) -> float:
    assert report.error is not None
    ends = [rank.ended_at for rank in report.ranks if rank.ended_at is not None and rank.rank == report.error.rank]
    return min(ends, default=float("inf"))


def _reason_of(error: RunError) -> Reason:
    try:
        return Reason(error.code)
    except ValueError:
        return Reason.ENDED_BY_CALLER
