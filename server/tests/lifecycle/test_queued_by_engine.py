"""Queued with an engine that has a queue of its own: runs wait there, and nothing is begun, lost or doubled."""

from collections.abc import Callable

import pytest

from runyard.protocol.status import Reason, RunStatus
from runyard_server.executors.base import EngineAwayError
from runyard_server.testing.fake_executor import FakeJob
from runyard_server.testing.played_jobs import Play
from runyard_server.testing.yard import Yard


@pytest.fixture
def yard(make_yard: Callable[..., Yard]) -> Yard:
    """A yard whose engine puts every job into its queue; a test lets it begin."""
    yard = make_yard()
    yard.engine.queues = True
    yard.restart()
    played = yard.engine.on_start

    def put_into_queue(job: FakeJob) -> None:
        played(job)
        job.wait_for_room("waits for nodes to become free (Resources)")

    yard.engine.on_start = put_into_queue
    return yard


def reason(yard: Yard, run_id: str) -> str:
    why = yard.server.queue.why(yard.run(run_id))
    return why.reason if why is not None else ""


def test_a_run_is_handed_over_at_once_and_stays_queued_until_it_begins(yard: Yard) -> None:
    run_id = yard.submit()
    yard.looks(60)
    assert yard.run(run_id).status is RunStatus.QUEUED
    assert reason(yard, run_id) == "waits for nodes to become free (Resources)"
    assert len(yard.engine.jobs) == 1
    yard.engine.jobs[0].begin()
    yard.looks(1)
    assert yard.run(run_id).status is RunStatus.RUNNING
    yard.until(yard.has_ended(run_id))
    assert yard.run(run_id).status is RunStatus.COMPLETED
    assert yard.reasons(run_id).count(Reason.NODES_STARTED) == 1


def test_the_next_server_goes_on_with_what_waits_in_the_engines_queue(yard: Yard) -> None:
    run_id = yard.submit(node_count=2)
    yard.looks(2)
    yard.restart()
    yard.looks(2)
    assert reason(yard, run_id) == "waits for nodes to become free (Resources)"
    assert len(yard.engine.jobs) == 2
    for job in yard.engine.jobs:
        job.begin()
    yard.until(yard.has_ended(run_id))
    assert (yard.run(run_id).status, len(yard.engine.jobs)) == (RunStatus.COMPLETED, 2)


def test_a_run_that_is_cancelled_is_taken_out_and_nothing_is_collected(yard: Yard) -> None:
    run_id = yard.submit()
    yard.looks(2)
    yard.server.runs.cancel(run_id, "ann")
    yard.until(yard.has_ended(run_id))
    assert yard.run(run_id).status is RunStatus.CANCELED
    assert len(yard.engine.jobs) == 1  # no salvage
    assert not yard.server.assignments.run_directory(run_id).exists()


def test_a_run_whose_job_somebody_took_out_of_the_queue_has_failed(yard: Yard) -> None:
    run_id = yard.submit()
    yard.looks(2)
    yard.engine.jobs[0].take_out("Slurm's job 7 was cancelled (CANCELLED).")
    yard.looks(2)
    run = yard.run(run_id)
    assert (run.status, run.reason) == (RunStatus.FAILED, Reason.START_FAILED)
    assert run.error is not None and "was cancelled" in run.error.message
    assert len(yard.engine.jobs) == 1


def test_an_engine_that_is_away_keeps_the_run_waiting_and_gets_it_once(yard: Yard) -> None:
    yard.engine.away = EngineAwayError("Slurm does not answer")
    run_id = yard.submit()
    yard.looks(5)
    assert yard.run(run_id).status is RunStatus.QUEUED
    assert "waits for its engine: Slurm does not answer" in reason(yard, run_id)
    yard.engine.away = None
    yard.looks(2)
    yard.engine.away = EngineAwayError("Slurm does not answer")
    yard.looks(2)
    assert "does not answer now" in reason(yard, run_id)
    yard.engine.away = None
    yard.engine.jobs[0].begin()
    yard.until(yard.has_ended(run_id))
    assert (yard.run(run_id).status, len(yard.engine.jobs)) == (RunStatus.COMPLETED, 1)


def test_a_job_that_its_engine_ends_is_salvaged_and_told_with_the_engines_cause(yard: Yard) -> None:
    yard.plays = {0: [Play(lines=None), Play()]}
    run_id = yard.submit()
    yard.looks(2)
    yard.engine.jobs[0].begin()
    yard.until(lambda: yard.jobs(run_id)[0].has_live_ranks and yard.jobs(run_id)[0].written == 2)
    yard.engine.jobs[0].end_by_engine(Reason.PREEMPTED, "Slurm's job 7 was preempted (PREEMPTED).")
    yard.looks(3)
    yard.engine.jobs[-1].begin()
    yard.until(yard.has_ended(run_id))
    run = yard.run(run_id)
    assert (run.status, run.reason) == (RunStatus.FAILED, Reason.PREEMPTED)
    assert run.error is not None and "was preempted (PREEMPTED). What it had written was kept." in run.error.message
    assert len(yard.engine.jobs) == 2


def test_a_node_that_does_not_reach_the_server_fails_the_run_and_says_what_to_do(yard: Yard) -> None:
    yard.plays = {0: [Play(lines=None), Play()]}
    run_id = yard.submit()
    yard.looks(2)
    job = yard.engine.jobs[0]
    job.begin()
    yard.jobs(run_id)[0].hangs = True
    yard.looks(100)
    assert yard.run(run_id).status is RunStatus.NOT_RESPONDING
    assert job.asked_to_end == 0
    yard.looks(100)
    assert job.asked_to_end == 1 and job.is_over
    yard.engine.jobs[-1].begin()
    yard.until(yard.has_ended(run_id))
    run = yard.run(run_id)
    assert run.error is not None and run.status is RunStatus.FAILED
    assert "does not reach this server at http://127.0.0.1:1. Start the server with --public-url" in run.error.message
