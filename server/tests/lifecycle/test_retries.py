"""Retries: an attempt that was lost is followed by another one, inside the run."""

from runyard.protocol.runs import RetrySpec
from runyard.protocol.status import Reason, RunStatus
from runyard_server.testing.played_jobs import Play
from runyard_server.testing.yard import Yard


def lose(yard: Yard, run_id: str) -> None:
    """The job that is at work is gone without a word."""
    yard.jobs(run_id)[-1].job.kill()


def at_work(yard: Yard, run_id: str, attempt: int) -> bool:
    job = yard.jobs(run_id)[-1]
    return job.job.handle.attempt == attempt and job.phase == "running" and job.is_told


def test_a_lost_attempt_is_followed_by_another_and_both_are_kept(yard: Yard) -> None:
    run_id = yard.running(Play(lines=None), retry=RetrySpec(max_attempts=2))
    first = yard.jobs(run_id)[0]
    yard.until(lambda: first.written == 2)
    first.disk.log += b"written, and not shipped\n"
    yard.plays = {0: [Play()]}
    lose(yard, run_id)
    yard.until(yard.has_ended(run_id))
    run = yard.run(run_id)
    assert (run.status, run.reason, run.attempt, run.error) == (RunStatus.COMPLETED, "outputs_collected", 2, None)
    assert [(job.job.handle.attempt, job.job.assignment.salvage) for job in yard.jobs(run_id)] == [
        (1, 0),
        (1, 1),
        (2, 0),
    ]
    second = yard.jobs(run_id)[-1]
    for job in (first, second):
        assert yard.server.files.open(run_id, job.log_name).location.read_bytes() == job.disk.log
    assert yard.server.verification.verify(run_id)["ok"]
    points = yard.server.metrics.get(run_id)["metrics"][first.metric]
    assert points == [0.0, 1.0, 0.0]  # of both attempts, in the order in which they came
    assert not (yard.home / "runs" / run_id).exists()


def test_the_story_tells_each_attempt_and_its_cause(yard: Yard) -> None:
    run_id = yard.running(Play(lines=None), retry=RetrySpec(max_attempts=3))
    yard.looks(7, beats=True)
    lose(yard, run_id)
    yard.until(lambda: at_work(yard, run_id, 2))
    reasons = yard.reasons(run_id)
    assert reasons[-4:] == ["nodes_started", "job_lost", "retried", "nodes_started"]
    (attempt,) = yard.run(run_id).attempts
    assert (attempt.number, attempt.reason, attempt.saved_at) == (1, "job_lost", None)
    assert attempt.started_at is not None and attempt.lost_work_s == attempt.ended_at - attempt.started_at >= 7
    event = next(event for event in yard.server.runs.events(run_id) if event.reason == "retried")
    assert event.message.startswith("attempt 1 of 3 has ended, job_lost: The job on node 0 ended without a last word")
    assert "it started and left no output" in event.message


def test_after_the_last_attempt_the_run_has_failed(yard: Yard) -> None:
    run_id = yard.running(Play(lines=None), retry=RetrySpec(max_attempts=2))
    lose(yard, run_id)
    yard.until(lambda: at_work(yard, run_id, 2))
    lose(yard, run_id)
    yard.until(yard.has_ended(run_id))
    run = yard.run(run_id)
    assert (run.status, run.reason) == (RunStatus.FAILED, Reason.JOB_LOST)
    assert [attempt.number for attempt in run.attempts] == [1, 2]


def test_a_script_that_fails_is_tried_again_only_where_that_was_asked_for(yard: Yard) -> None:
    once = yard.running(Play(lines=1, exit_code=3), retry=RetrySpec(max_attempts=2))
    yard.until(yard.has_ended(once))
    assert (yard.run(once).status, yard.run(once).attempt) == (RunStatus.FAILED, 1)
    again = yard.running(Play(lines=1, exit_code=3), retry=RetrySpec(2, ["script_failed"]))
    yard.plays = {0: [Play()]}
    yard.until(yard.has_ended(again))
    assert (yard.run(again).status, yard.run(again).attempt) == (RunStatus.COMPLETED, 2)


def test_a_cancelled_run_is_not_tried_again(yard: Yard) -> None:
    run_id = yard.running(Play(lines=None), retry=RetrySpec(max_attempts=2))
    lose(yard, run_id)
    yard.server.runs.cancel(run_id, "bea")
    yard.until(yard.has_ended(run_id))
    assert (yard.run(run_id).status, yard.run(run_id).attempt) == (RunStatus.CANCELED, 1)


def test_a_server_that_dies_between_two_attempts_begins_the_second_once(yard: Yard) -> None:
    run_id = yard.running(Play(lines=None), retry=RetrySpec(max_attempts=2))
    yard.plays = {0: [Play()]}
    lose(yard, run_id)
    while not yard.has_ended(run_id)():
        yard.restart()
        yard.round()
    assert [job.job.handle.attempt for job in yard.jobs(run_id) if not job.job.assignment.salvage] == [1, 2]
    assert yard.run(run_id).status is RunStatus.COMPLETED


def test_a_retry_does_not_stand_behind_who_came_later(yard: Yard) -> None:
    first = yard.running(*[Play(lines=None)] * 4, retry=RetrySpec(max_attempts=2))  # all there is
    later = yard.submit(node_count=4)
    lose(yard, first)
    yard.until(lambda: at_work(yard, first, 2))
    assert yard.run(later).status is RunStatus.QUEUED
