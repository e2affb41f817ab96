"""What jobs, as seen and as heard, say about their run."""

from dataclasses import replace

import pytest

from runyard.protocol.jobs import JobReport, RankReport
from runyard.protocol.runs import RunError
from runyard.protocol.status import Reason, RunStatus
from runyard_server.domain.supervision import (
    HEARTBEAT_LIMIT_S,
    MAX_SALVAGES,
    Next,
    NodeView,
    first_error,
    is_settled,
    judge,
    must_be_ended,
    needs_salvage,
    verdict,
)

NOON = 1_566_000_000.0
RUNS = NodeView(0, JobReport(attempt=1, node=0, sequence=1, phase="running"), is_over=False)
SILENT_BEFORE = NodeView(0, None, is_over=False)


def failed(node: int, rank: int, at: float, code: int = 1) -> NodeView:
    error = RunError(code="script_failed", message=f"rank {rank}", rank=rank, exit_code=code)
    ranks = [RankReport(rank=rank, pid=1, started_at=NOON, ended_at=at, exit_code=code)]
    return NodeView(node, JobReport(1, node, 2, "collecting", ranks, error), is_over=False)


def ended(node: int = 0, phase: str = "done") -> NodeView:
    return NodeView(node, JobReport(1, node, 2, phase), is_over=phase == "done")


def lost(node: int = 0, salvages: int = 0) -> NodeView:
    return NodeView(node, RUNS.report, is_over=True, cause="SIGKILL", salvages=salvages)


def silent(view: NodeView) -> NodeView:
    return replace(view, silent_s=HEARTBEAT_LIMIT_S + 1)


@pytest.mark.parametrize(
    ("nodes", "wanted"),
    [
        ([RUNS], Next.GO_ON),
        ([SILENT_BEFORE], Next.GO_ON),
        ([RUNS, ended(1, "collecting")], Next.GO_ON),
        ([RUNS, failed(1, 1, NOON)], Next.END_GANG),
        ([silent(RUNS), failed(1, 1, NOON)], Next.END_GANG),
        ([RUNS, lost(1)], Next.END_GANG),
        ([lost()], Next.FINALIZE),
        ([ended(0, "collecting"), ended(1)], Next.FINALIZE),
        ([silent(RUNS)], Next.NOT_RESPONDING),
        ([silent(SILENT_BEFORE)], Next.NOT_RESPONDING),
        ([RUNS, silent(ended(1, "collecting"))], Next.GO_ON),
    ],
)
def test_what_a_running_attempt_calls_for(nodes: list[NodeView], wanted: Next) -> None:
    assert judge(nodes) is wanted


def test_who_collects_is_left_alone_unless_it_hangs() -> None:
    assert must_be_ended(RUNS) and must_be_ended(silent(ended(0, "collecting")))
    assert not must_be_ended(ended(0, "collecting")) and not must_be_ended(silent(ended()))
    assert not must_be_ended(silent(lost()))
    salvaging = replace(RUNS, salvages=1)
    assert not must_be_ended(salvaging) and must_be_ended(silent(salvaging))


def test_the_rank_that_failed_first_is_named_whatever_node_tells_first() -> None:
    late, early = failed(0, 0, NOON + 9), failed(1, 3, NOON + 2, code=7)
    for nodes in ([late, early], [early, late]):
        error = first_error(nodes)
        assert error is not None
        assert (error.rank, error.exit_code) == (3, 7)


def test_a_lost_job_is_the_cause_only_where_no_rank_failed_before() -> None:
    error = first_error([lost(0), failed(1, 1, NOON)])
    assert error is not None and error.code == Reason.SCRIPT_FAILED
    gone = replace(lost(0), heard_at=NOON - 1)  # the other one misses it
    error = first_error([gone, failed(1, 1, NOON)])
    assert error is not None and error.code == "job_lost"
    gone = replace(lost(0), heard_at=NOON + 1)
    error = first_error([gone, failed(1, 1, NOON)])
    assert error is not None and error.code == "script_failed"
    error = first_error([lost(0), ended(1)])
    assert error is not None and error.code == Reason.JOB_LOST
    assert "node 0" in error.message and "SIGKILL" in error.message


def test_a_lost_node_is_salvaged_and_given_up_in_the_end() -> None:
    assert needs_salvage(lost()) and not is_settled(lost())
    given_up = lost(salvages=MAX_SALVAGES)
    assert not needs_salvage(given_up) and is_settled(given_up)
    assert not needs_salvage(ended()) and is_settled(ended())
    assert not needs_salvage(RUNS) and not is_settled(RUNS)


def test_the_verdict_is_the_cause_not_the_last_thing_that_happened() -> None:
    assert verdict([ended()], None, cancelled=False).status is RunStatus.COMPLETED
    by_script = RunError(code="mine", message="asked to fail")
    found = verdict([ended()], by_script, cancelled=False)
    assert (found.status, found.reason, found.error) == (RunStatus.FAILED, Reason.ENDED_BY_CALLER, by_script)
    found = verdict([failed(0, 0, NOON)], None, cancelled=True)
    assert (found.status, found.reason) == (RunStatus.CANCELED, Reason.CANCELED)


def test_a_job_that_somebody_else_ended_has_not_completed() -> None:
    report = replace(ended().report, canceled=True)  # type: ignore[type-var]
    found = verdict([replace(ended(), report=report)], None, cancelled=False)
    assert (found.status, found.reason) == (RunStatus.FAILED, Reason.SIGNALED)


def test_outputs_that_nobody_could_collect_fail_a_run_whose_script_went_well() -> None:
    node = NodeView(0, ended(0, "collecting").report, is_over=True, cause="SIGKILL", salvages=MAX_SALVAGES)
    found = verdict([node], None, cancelled=False)
    assert (found.status, found.reason) == (RunStatus.FAILED, Reason.COLLECTION_FAILED)


def stopped(node: int = 0, is_over: bool = False, cause: Reason | None = None) -> NodeView:
    """A node whose rank a signal of somebody else's has ended; all is collected."""
    error = RunError(code="signaled", message="The script was ended by SIGTERM.", rank=node, signal="SIGTERM")
    report = JobReport(1, node, 3, "done", error=error)
    return NodeView(
        node, report, is_over, "Slurm's job 7 reached its time limit.", engine_cause=cause, engine_tells=True
    )


def test_what_the_engine_says_is_waited_for_where_somebody_else_ended_the_ranks() -> None:
    assert stopped().awaits_engine
    assert not stopped(is_over=True).awaits_engine
    assert not replace(stopped(), engine_tells=False).awaits_engine
    assert not replace(failed(0, 0, NOON), engine_tells=True).awaits_engine


def test_that_the_engine_ended_the_job_is_why_its_ranks_failed() -> None:
    ended_by_engine = verdict([stopped(is_over=True, cause=Reason.TIME_LIMIT)], None, cancelled=False)
    assert (ended_by_engine.status, ended_by_engine.reason) == (RunStatus.FAILED, Reason.TIME_LIMIT)
    assert ended_by_engine.error is not None
    assert ended_by_engine.error.message.startswith("Slurm's job 7 reached its time limit.")
    assert ended_by_engine.error.signal == "SIGTERM"
    assert verdict([stopped(is_over=True)], None, cancelled=False).reason is Reason.SIGNALED


def test_a_run_that_was_over_before_its_engine_ended_the_job_has_completed() -> None:
    node = replace(ended(), engine_cause=Reason.TIME_LIMIT, engine_tells=True)
    assert verdict([node], None, cancelled=False).status is RunStatus.COMPLETED


def test_a_job_that_never_began_leaves_nothing_to_collect() -> None:
    node = NodeView(0, None, is_over=True, cause="taken out of the queue", began=False)
    assert not needs_salvage(node)
    assert is_settled(node)


def test_what_was_on_a_nodes_own_disk_is_not_said_to_be_kept() -> None:
    gone = replace(lost(), on_own_disk=True, engine_cause=Reason.NODE_LOST)
    assert needs_salvage(gone) and not is_settled(gone)
    error = verdict([replace(gone, salvages=MAX_SALVAGES)], None, cancelled=False).error
    assert error is not None and "outputs were on the node's own disk" in error.message


def test_a_node_that_could_not_begin_has_lost_nothing() -> None:
    never = NodeView(0, None, is_over=True, cause="its node does not reach this server.", began=False)
    assert is_settled(never)
    error = verdict([never], None, cancelled=False).error
    assert error is not None
    assert (error.code, error.message) == ("start_failed", "its node does not reach this server.")
