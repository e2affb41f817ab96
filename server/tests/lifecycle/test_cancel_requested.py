"""CancelRequested: it is effective, gently first, whatever state the jobs are in."""

from collections.abc import Callable

import pytest

from runyard.protocol.runs import InteractiveRunSpec
from runyard.protocol.status import RunStatus
from runyard_server.lifecycle.nodes import FIRMLY_AFTER_S
from runyard_server.testing.played_jobs import Fate, Play
from runyard_server.testing.yard import Yard

STAYS = Play(lines=None)


def cancel(yard: Yard, run_id: str) -> None:
    yard.server.runs.cancel(run_id, "bea")
    yard.until(yard.has_ended(run_id))
    run = yard.run(run_id)
    assert (run.status, run.reason, run.message) == (RunStatus.CANCELED, "canceled", "cancelled by bea")
    assert all(job.is_over for job in yard.engine.jobs_of(run_id))


def test_a_run_that_nobody_has_looked_at_is_canceled_at_once(yard: Yard) -> None:
    cancel(yard, yard.submit())
    assert yard.engine.jobs == []


def test_a_queued_run_is_canceled_at_once_and_the_next_one_moves_up(make_yard: Callable[..., Yard]) -> None:
    yard = make_yard(cpus=1)
    yard.running(STAYS)
    second, third = yard.submit(), yard.submit()
    yard.looks(1)
    cancel(yard, second)
    why = yard.server.queue.why(yard.run(third))
    assert why is not None and why.position == 1


def test_a_running_job_is_asked_once_and_what_it_wrote_is_kept(yard: Yard) -> None:
    run_id = yard.running(STAYS)
    yard.server.runs.cancel(run_id, "bea")
    yard.looks(3)
    job = yard.jobs(run_id)[0]
    assert job.job.asked_to_end == 1
    cancel(yard, run_id)
    assert yard.server.files.open(run_id, job.log_name).location.read_bytes() == job.disk.log
    assert yard.server.verification.verify(run_id)["ok"]


@pytest.mark.parametrize("phase", ["running", "collecting"])
def test_a_job_that_hangs_is_ended_firmly_and_salvaged(yard: Yard, phase: str) -> None:
    run_id = yard.running(Play(lines=1))
    job = yard.jobs(run_id)[0]
    yard.until(lambda: job.phase == phase and job.is_told)
    job.hangs = True
    yard.server.runs.cancel(run_id, "bea")
    yard.looks(2)
    assert not job.job.is_over
    cancel(yard, run_id)
    assert [each.job.assignment.salvage for each in yard.jobs(run_id)] == [0, 1]


def test_a_salvage_is_given_time_to_begin(yard: Yard) -> None:
    run_id = yard.running(STAYS)
    yard.jobs(run_id)[0].hangs = True
    yard.server.runs.cancel(run_id, "bea")
    yard.until(lambda: yard.run(run_id).status is RunStatus.CANCEL_REQUESTED and len(yard.jobs(run_id)) == 2)
    yard.looks(20)  # it stands in the engine and has not said a word
    assert len(yard.jobs(run_id)) == 2 and not yard.jobs(run_id)[1].job.is_over
    cancel(yard, run_id)


def test_a_job_that_collects_is_left_to_it(yard: Yard) -> None:
    run_id = yard.running(Play(lines=1))
    job = yard.jobs(run_id)[0]
    yard.until(lambda: job.phase == "collecting" and job.is_told)
    yard.server.runs.cancel(run_id, "bea")
    yard.looks(2 * FIRMLY_AFTER_S, beats=True)
    assert job.job.asked_to_end == 0 and not job.job.is_over
    cancel(yard, run_id)


def test_a_job_that_dies_of_it_is_salvaged(yard: Yard) -> None:
    run_id = yard.running(STAYS)
    job = yard.jobs(run_id)[0]
    job.job.when_asked = lambda: job.job.kill("SIGTERM")
    cancel(yard, run_id)
    assert [each.job.assignment.salvage for each in yard.jobs(run_id)] == [0, 1]


def test_a_gang_is_ended_as_one(yard: Yard) -> None:
    cancel(yard, yard.running(STAYS, STAYS))


def test_a_lost_job_that_is_salvaged_can_be_cancelled(yard: Yard) -> None:
    run_id = yard.running(Play(fate=Fate.DIES_RUNNING, lines=None))
    yard.until(lambda: yard.run(run_id).status is RunStatus.FINALIZING)
    cancel(yard, run_id)


def test_a_run_whose_server_died_while_it_started_the_job_is_ended(yard: Yard) -> None:
    yard.plays = {0: [STAYS]}
    run_id = yard.submit()
    start = yard.engine.on_start

    def die_of_it(job):  # type: ignore[no-untyped-def]
        start(job)
        yard.fuse.shorten(1)

    yard.engine.on_start = die_of_it
    yard.look()
    yard.engine.on_start = start
    assert yard.deaths == 1 and len(yard.engine.jobs) == 1
    yard.clock.jump(-3600)
    cancel(yard, run_id)


def test_an_interactive_run_is_canceled_and_its_client_told(yard: Yard) -> None:
    run_id = yard.server.runs.start_interactive(InteractiveRunSpec("tests"), "ann").id
    yard.server.runs.cancel(run_id, "bea")
    assert yard.server.runs.heartbeat(run_id).cancel
    cancel(yard, run_id)
    assert yard.server.runs.heartbeat(run_id).stale


def test_an_engine_that_is_away_is_asked_again_when_it_is_back(yard: Yard) -> None:
    run_id = yard.running(STAYS)
    job = yard.jobs(run_id)[0]
    yard.engine.away = ConnectionError("no route to the engine")
    yard.server.runs.cancel(run_id, "bea")
    yard.looks(3)
    assert job.job.asked_to_end == 0
    yard.engine.away = None
    yard.looks(3)
    assert job.job.asked_to_end == 1
    cancel(yard, run_id)
