"""Queued: a gang starts as a whole, once, in its turn; what could not start is told and holds nothing."""

from collections.abc import Callable

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from runyard.protocol.runs import DistributionSpec
from runyard.protocol.status import Reason, RunStatus
from runyard_server.testing.played_jobs import Play
from runyard_server.testing.yard import Yard

STAYS = Play(lines=None)


def test_the_next_run_waits_with_a_reason_and_starts_when_the_nodes_are_free(make_yard: Callable[..., Yard]) -> None:
    yard = make_yard(cpus=1)
    first = yard.running(Play(lines=1))
    second = yard.submit()
    yard.looks(1)
    why = yard.server.queue.why(yard.run(second))
    assert why is not None and first in why.reason and why.position == 1
    yard.until(yard.has_ended(first, second))
    assert yard.run(second).status is RunStatus.COMPLETED


def test_who_came_first_is_served_first_and_priority_goes_before(make_yard: Callable[..., Yard]) -> None:
    yard = make_yard(cpus=1)
    holder = yard.running(Play(lines=1))
    yard.plays = {0: [Play(lines=1)]}
    waiting = []
    for priority in (0, 0, 5):
        yard.clock.advance(seconds=1)
        waiting.append(yard.submit(priority=priority))
    yard.until(yard.has_ended(holder, *waiting))
    started = [job.handle.run_id for job in yard.engine.jobs]
    assert started == [holder, waiting[2], waiting[0], waiting[1]]


@pytest.mark.slow
def test_a_thousand_runs_that_wait_for_this_machine_have_no_job_that_anybody_looks_at(
    make_yard: Callable[..., Yard],
) -> None:
    yard = make_yard(cpus=1)
    yard.running(STAYS)
    waiting = [yard.submit() for _ in range(1000)]
    yard.looks(2)
    asked: list[None] = []
    yard.engine.on_look = lambda: asked.append(None)
    yard.looks(3)
    assert {yard.run(run).status for run in waiting} == {RunStatus.QUEUED}
    assert len(yard.engine.jobs) == 1
    assert 0 < len(asked) <= 3  # for the one that runs


def test_each_run_has_gpus_of_its_own(make_yard: Callable[..., Yard]) -> None:
    yard = make_yard(gpus=2)
    yard.plays = {0: [STAYS]}
    runs = [yard.submit(gpus_per_node=1) for _ in range(3)]
    yard.looks(1)
    assert sorted(job.assignment.gpus for job in yard.engine.jobs) == [[0], [1]]
    assert [yard.run(run).status for run in runs].count(RunStatus.QUEUED) == 1


def test_a_start_that_fails_fails_the_run_and_gives_the_nodes_back(make_yard: Callable[..., Yard]) -> None:
    yard = make_yard(cpus=2)
    yard.engine.refuses[1] = "no more processes"
    run_id = yard.submit(node_count=2)
    yard.looks(1)
    run = yard.run(run_id)
    assert (run.status, run.reason) == (RunStatus.FAILED, Reason.START_FAILED)
    assert run.error is not None and "no more processes" in run.error.message
    assert yard.server.runs.jobs(run_id) == [] and yard.engine.jobs == []
    yard.engine.refuses.clear()
    after = yard.submit(node_count=2)
    yard.until(yard.has_ended(after))
    assert yard.run(after).status is RunStatus.COMPLETED


def test_the_nodes_of_a_gang_meet_at_one_port_and_two_gangs_at_two(yard: Yard) -> None:
    torch = DistributionSpec(kind="torch")
    yard.plays = {0: [STAYS], 1: [STAYS]}
    runs = [yard.submit(node_count=2, distribution=torch) for _ in range(2)]
    yard.looks(1)
    ports = {run: {tuple(job.assignment.ports) for job in yard.engine.jobs_of(run)} for run in runs}
    assert all(len(told) == 1 for told in ports.values())
    assert len({port for told in ports.values() for (port,) in told}) == 2


def test_a_cancellation_that_comes_while_it_starts_finds_its_jobs(yard: Yard) -> None:
    yard.plays = {0: [STAYS]}
    played = yard.engine.on_start

    def cancelled_meanwhile(job):  # type: ignore[no-untyped-def]
        played(job)
        yard.server.runs.cancel(job.handle.run_id, "bea")

    yard.engine.on_start = cancelled_meanwhile
    run_id = yard.submit()
    yard.until(yard.has_ended(run_id))
    run = yard.run(run_id)
    assert (run.status, run.message) == (RunStatus.CANCELED, "cancelled by bea")
    assert all(job.is_over for job in yard.engine.jobs)


def test_a_database_that_fails_between_the_start_and_its_record_starts_no_second_job(yard: Yard) -> None:
    yard.plays = {0: [STAYS]}
    failures = []

    def fail_once(connection, cursor, statement, parameters, context, executemany):  # type: ignore[no-untyped-def]
        if yard.engine.jobs and not failures and statement.startswith("UPDATE jobs"):
            failures.append(statement)
            raise OperationalError(statement, parameters, Exception("disk I/O error"))

    event.listen(yard.database.engine, "before_cursor_execute", fail_once)
    run_id = yard.submit()
    yard.looks(1)
    assert failures and yard.run(run_id).status is RunStatus.QUEUED
    yard.looks(2)
    assert yard.run(run_id).status is RunStatus.RUNNING
    assert len(yard.engine.jobs) == 1


@pytest.mark.parametrize("status", ["Failed", "Canceled"])
def test_a_run_that_ended_before_its_turn_is_not_started(make_yard: Callable[..., Yard], status: str) -> None:
    yard = make_yard(cpus=1)
    first = yard.running(STAYS)
    second = yard.submit()
    yard.looks(1)
    if status == "Canceled":
        yard.server.runs.cancel(second, "bea")
        yard.looks(1)
        assert yard.run(second).status is RunStatus.CANCELED
    yard.server.runs.cancel(first, "bea")
    yard.until(yard.has_ended(first))
    yard.looks(2)
    assert bool(yard.engine.jobs_of(second)) is (status == "Failed")
