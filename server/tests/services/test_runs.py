"""What may be asked of runs: repeated requests, changes, cancellations, and what jobs and clients say."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runyard.errors import RunException, RunyardError, SnapshotException, UnknownRunError, UserErrorException
from runyard.protocol.compute import ComputeSpec
from runyard.protocol.jobs import JobReport
from runyard.protocol.runs import ClientProcess, InteractiveRunSpec, RunChanges, RunError
from runyard.protocol.status import Reason, RunStatus
from runyard_server.executors.base import Ability, JobPlan, JobRequest
from runyard_server.records.engine import Database
from runyard_server.records.runs import RunFilter
from runyard_server.services.runs import MAX_TAGS
from runyard_server.testing.clock import FakeClock
from runyard_server.testing.fake_executor import FakeEngine, FakeExecutor
from runyard_server.testing.run_server import RunServer

ME = ClientProcess(1, 1, "another machine")


@pytest.fixture
def server(tmp_path: Path, database: Database) -> Iterator[RunServer]:
    server = RunServer(tmp_path, FakeEngine(), FakeClock(), database)
    yield server
    server.close()


@pytest.fixture
def running(server: RunServer) -> str:
    """The id of a run of two nodes that has been started."""
    run_id = server.runs.submit(server.spec(node_count=2), "ann").id
    server.lifecycle.settle()
    assert server.runs.get(run_id).status is RunStatus.RUNNING
    return run_id


def submit(server: RunServer, **changes: Any) -> str:
    return server.runs.submit(server.spec(**changes), "ann").id


# Making


def test_a_submission_that_is_sent_twice_makes_one_run(server: RunServer) -> None:
    spec = server.spec(id="tests_1")
    first = server.runs.submit(spec, "ann")
    assert server.runs.submit(spec, "ann") == first
    assert len(server.runs.list(RunFilter())) == 1


def test_an_id_is_never_used_twice(server: RunServer) -> None:
    submit(server, id="tests_1")
    with pytest.raises(RunException, match="never used twice"):
        submit(server, id="tests_1", command=["false"])
    with pytest.raises(RunException, match="never used twice"):
        server.runs.start_interactive(InteractiveRunSpec("tests", id="tests_1", process=ME), "ann")


def test_numbers_count_on_in_each_experiment(server: RunServer) -> None:
    ids = [submit(server), submit(server), submit(server, experiment="others")]
    assert [server.runs.get(run_id).number for run_id in ids] == [1, 2, 1]


def test_what_can_never_run_is_refused_and_leaves_nothing(server: RunServer) -> None:
    with pytest.raises(UserErrorException):
        submit(server, node_count=99)
    with pytest.raises(SnapshotException):
        submit(server, script="train.py")
    assert server.runs.list(RunFilter()) == []


def test_a_parent_that_is_not_here_is_refused(server: RunServer) -> None:
    with pytest.raises(UnknownRunError):
        submit(server, parent="nobody")


def test_an_interactive_start_that_is_sent_twice_makes_one_run(server: RunServer) -> None:
    spec = InteractiveRunSpec("tests", id="n_1", process=ME)
    first = server.runs.start_interactive(spec, "ann")
    assert first.status is RunStatus.RUNNING
    assert server.runs.start_interactive(spec, "ann") == first
    with pytest.raises(RunException):
        server.runs.start_interactive(InteractiveRunSpec("tests", id="n_1", process=ClientProcess(2, 2, "b")), "ann")


def test_a_rerun_is_the_same_again_under_another_id(server: RunServer) -> None:
    first = server.runs.get(submit(server, arguments=["--epochs", "2"], tags={"a": "1"}))
    again = server.runs.rerun(first.id, "bea")
    assert again.id != first.id and again.submitted_by == "bea"
    assert again.spec is not None and first.spec is not None
    assert (again.spec.arguments, again.spec.snapshot, again.spec.rerun_of) == (
        first.spec.arguments,
        first.spec.snapshot,
        first.id,
    )


class EngineOfGpus(FakeEngine):
    """One with a queue of its own that gives GPUs out itself: ``most`` on each node. ``asked``: how many of each run.

    ``waited``: whether who asked what it has would wait for the answer.
    """

    def __init__(self) -> None:
        super().__init__(queues=True)
        self.most = 1
        self.asked: list[int] = []
        self.waited: list[bool] = []

    def executor(self) -> FakeExecutor:
        engine = self

        class Gives(FakeExecutor):
            abilities = FakeExecutor.abilities - {Ability.GPUS}

            def most_gpus(self, spec: ComputeSpec, waits: bool = True) -> int:
                engine.waited.append(waits)
                return engine.most

            def plan(self, request: JobRequest) -> JobPlan:
                engine.asked.append(request.gpus_per_node)
                return super().plan(request)

        return Gives(self)


def test_what_was_asked_stays_apart_from_what_was_granted_and_a_rerun_asks_for_it(
    tmp_path: Path, database: Database
) -> None:
    engine = EngineOfGpus()
    server = RunServer(tmp_path, engine, FakeClock(), database)
    first = server.runs.submit(server.spec(gpus_per_node=2, id="tests_1"), "ann")
    assert server.runs.submit(server.spec(gpus_per_node=2, id="tests_1"), "ann") == first  # its answer was lost
    server.lifecycle.settle()
    assert first.spec is not None and (first.spec.gpus_per_node, first.spec.gpus_granted) == (2, 1)
    assert any("more than 1 GPU" in str(warning) for warning in first.warnings)
    engine.most = 4
    again = server.runs.rerun(first.id, "ann")
    assert again.spec is not None and (again.spec.gpus_per_node, again.spec.gpus_granted) == (2, None)
    assert again.warnings == []
    server.lifecycle.settle()
    assert engine.asked == [1, 2]
    server.close()


def test_an_engine_is_waited_for_at_submission_and_never_where_all_runs_are_looked_after(
    tmp_path: Path, database: Database
) -> None:
    engine = EngineOfGpus()
    server = RunServer(tmp_path, engine, FakeClock(), database)
    server.runs.submit(server.spec(gpus_per_node=2), "ann")
    assert engine.waited == [True]
    server.lifecycle.settle()
    assert engine.asked == [1] and engine.waited[1:] == [False]
    server.close()


def test_an_interactive_run_cannot_be_submitted_again(server: RunServer) -> None:
    run = server.runs.start_interactive(InteractiveRunSpec("tests"), "ann")
    with pytest.raises(RunException, match="interactive"):
        server.runs.rerun(run.id, "ann")


# Changing


def test_tags_are_set_and_removed_and_properties_written_once(server: RunServer) -> None:
    run_id = submit(server, tags={"kept": "1", "dropped": "2"})
    changes = RunChanges(tags={"new": "3"}, remove_tags=["dropped"], properties={"p": "1"}, description="d")
    changed = server.runs.change(run_id, changes)
    assert changed.tags == {"kept": "1", "new": "3"}
    assert changed.properties["p"] == "1" and changed.description == "d"
    assert server.runs.change(run_id, RunChanges(properties={"p": "1"})).properties["p"] == "1"
    with pytest.raises(RunException, match="written once"):
        server.runs.change(run_id, RunChanges(properties={"p": "2"}))


def test_there_is_a_most_of_tags(server: RunServer) -> None:
    run_id = submit(server)
    with pytest.raises(UserErrorException, match=str(MAX_TAGS)):
        server.runs.change(run_id, RunChanges(tags={str(number): "" for number in range(MAX_TAGS + 1)}))
    assert server.runs.get(run_id).tags == {}


def test_a_cancellation_reaches_the_children_and_is_told_once(server: RunServer) -> None:
    parent = submit(server)
    child = submit(server, parent=parent)
    grandchild = server.runs.start_interactive(InteractiveRunSpec("tests", parent=child), "ann").id
    for _ in range(2):
        server.runs.cancel(parent, "bea")
    for run_id in (parent, child, grandchild):
        run = server.runs.get(run_id)
        assert (run.status, run.message) == (RunStatus.CANCEL_REQUESTED, "cancelled by bea")
        assert [event.by for event in server.runs.events(run_id)] == ["ann", "bea"]


def test_a_cancellation_after_the_end_changes_nothing(server: RunServer) -> None:
    run_id = server.runs.start_interactive(InteractiveRunSpec("tests"), "ann").id
    ended = server.runs.complete(run_id, "ann")
    assert server.runs.cancel(run_id, "bea") == ended


# Interactive runs


def test_an_interactive_run_ends_as_its_client_says_and_only_once(server: RunServer) -> None:
    run_id = server.runs.start_interactive(InteractiveRunSpec("tests"), "ann").id
    error = RunError(code="mine", message="the loss is NaN")
    failed = server.runs.fail(run_id, error, "ann")
    assert (failed.status, failed.reason, failed.error) == (RunStatus.FAILED, Reason.ENDED_BY_CALLER, error)
    assert server.runs.complete(run_id, "ann") == failed


@pytest.mark.parametrize("well", [True, False])
def test_an_interactive_run_that_was_cancelled_ends_canceled_by_whom_it_was(server: RunServer, well: bool) -> None:
    run_id = server.runs.start_interactive(InteractiveRunSpec("tests"), "ann").id
    server.runs.cancel(run_id, "bea")
    error = RunError(code="mine", message="interrupted")
    ended = server.runs.complete(run_id, "ann") if well else server.runs.fail(run_id, error, "ann")
    assert (ended.status, ended.reason) == (RunStatus.CANCELED, Reason.CANCELED)
    assert (ended.message, ended.error) == ("cancelled by bea", None)


def test_completing_a_submitted_run_changes_nothing_but_an_error_is_kept(server: RunServer, running: str) -> None:
    assert server.runs.complete(running, "ann").status is RunStatus.RUNNING
    kept = server.runs.fail(running, RunError(code="mine", message="the loss is NaN"), "ann")
    assert kept.status is RunStatus.RUNNING
    assert kept.error is not None and kept.error.message == "the loss is NaN"


# What jobs say


def said(sequence: int, phase: str = "running", node: int = 0, attempt: int = 1, **more: Any) -> JobReport:
    return JobReport(attempt=attempt, node=node, sequence=sequence, phase=phase, **more)


def test_a_report_that_comes_late_or_twice_undoes_nothing(server: RunServer, running: str) -> None:
    for report in (said(1), said(2, "collecting"), said(1), said(2, "running")):
        assert not server.runs.report(running, report).stale
    kept = server.runs.jobs(running)[0].report
    assert kept is not None and (kept.sequence, kept.phase) == (2, "collecting")


@pytest.mark.parametrize("attempt", [0, 2])
def test_another_attempts_report_is_stale_and_changes_nothing(server: RunServer, running: str, attempt: int) -> None:
    assert server.runs.report(running, said(1, attempt=attempt)).stale
    assert [job.report for job in server.runs.jobs(running)] == [None, None]


def test_a_report_of_a_node_that_the_run_does_not_have_changes_nothing(server: RunServer, running: str) -> None:
    server.runs.report(running, said(1, node=7))
    assert [job.report for job in server.runs.jobs(running)] == [None, None]


def test_a_report_after_the_end_is_stale(server: RunServer, running: str) -> None:
    server.engine.jobs[0].lose()
    server.engine.jobs[1].lose()
    for node in (0, 1):
        server.runs.report(running, said(9, "done", node=node))
    server.lifecycle.settle()
    assert server.runs.get(running).status.is_terminal
    assert server.runs.report(running, said(10)).stale


def test_every_report_is_a_sign_of_life(server: RunServer, running: str) -> None:
    clock = server.clock
    assert isinstance(clock, FakeClock)
    server.runs.report(running, said(1))
    clock.advance(seconds=5)
    server.runs.report(running, said(1))  # nothing new, but it lives
    assert server.runs.jobs(running)[0].reported_at == clock.now()


def test_the_answer_tells_a_job_to_end_when_its_run_is_cancelled(server: RunServer, running: str) -> None:
    assert not server.runs.report(running, said(1)).cancel
    server.runs.cancel(running, "bea")
    assert server.runs.report(running, said(1)).cancel


@pytest.mark.parametrize("what", [{"error": RunError(code="script_failed", message="m")}, {"timed_out": True}])
def test_the_answer_tells_a_job_to_end_when_another_node_failed(server: RunServer, running: str, what: Any) -> None:
    server.runs.report(running, said(1, node=1, **what))
    assert server.runs.report(running, said(1, node=0)).cancel


def test_an_unknown_run_is_told_as_such(server: RunServer) -> None:
    for ask in (server.runs.get, server.runs.events, server.runs.jobs, server.runs.heartbeat):
        with pytest.raises(RunyardError) as refused:
            ask("nobody")
        assert refused.value.code == "unknown_run"
