"""NotResponding: no failure, and no rumour: it heals, or its cause is seen."""

import pytest

from runyard.protocol.status import Reason, RunStatus
from runyard_server.domain.supervision import HEARTBEAT_LIMIT_S
from runyard_server.testing.played_jobs import Play
from runyard_server.testing.yard import Yard


@pytest.fixture
def silent(yard: Yard) -> str:
    """The id of a run of which nothing was heard for too long."""
    run_id = yard.running(Play(lines=None))
    yard.looks(HEARTBEAT_LIMIT_S + 2)
    assert yard.run(run_id).status is RunStatus.NOT_RESPONDING
    return run_id


def test_missing_heartbeats_are_told_once(yard: Yard, silent: str) -> None:
    run = yard.run(silent)
    assert (run.reason, run.message) == (Reason.HEARTBEAT_MISSING, "no heartbeat of its job")
    yard.looks(100)
    assert yard.reasons(silent).count("heartbeat_missing") == 1


def test_a_heartbeat_heals_it(yard: Yard, silent: str) -> None:
    yard.looks(1, beats=True)
    run = yard.run(silent)
    assert (run.status, run.reason) == (RunStatus.RUNNING, Reason.HEARTBEAT_RETURNED)
    yard.looks(HEARTBEAT_LIMIT_S + 2)
    assert yard.run(silent).status is RunStatus.NOT_RESPONDING


def test_a_job_that_is_seen_to_be_gone_is_lost(yard: Yard, silent: str) -> None:
    yard.engine.jobs[0].kill()
    yard.looks(1)
    assert yard.run(silent).reason == Reason.JOB_LOST
    yard.until(yard.has_ended(silent))
    assert yard.run(silent).status is RunStatus.FAILED


def test_a_job_that_ended_meanwhile_ends_the_run_as_it_ended(yard: Yard, silent: str) -> None:
    yard.jobs(silent)[0].ask_to_end()
    yard.until(yard.has_ended(silent))
    assert yard.run(silent).reason == Reason.SIGNALED  # nobody of ours had asked it to end


def test_it_can_be_cancelled_though_its_job_hangs(yard: Yard, silent: str) -> None:
    yard.jobs(silent)[0].hangs = True
    yard.server.runs.cancel(silent, "bea")
    yard.until(yard.has_ended(silent))
    run = yard.run(silent)
    assert (run.status, run.message) == (RunStatus.CANCELED, "cancelled by bea")
    assert all(job.is_over for job in yard.engine.jobs)


def test_a_server_that_was_away_does_not_blame_its_jobs(yard: Yard) -> None:
    run_id = yard.running(Play(lines=None))
    yard.clock.advance(minutes=60)
    yard.restart()
    yard.looks(HEARTBEAT_LIMIT_S - 2)
    assert yard.run(run_id).status is RunStatus.RUNNING
