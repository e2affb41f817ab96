"""Who may start, and why the others wait: what is recorded, put before the placement rules."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runyard.protocol.compute import ComputeChanges, ComputeSpec
from runyard.protocol.status import RunStatus
from runyard_server.testing.played_jobs import Play
from runyard_server.testing.yard import Yard

STAYS = Play(lines=None)


@pytest.fixture
def make_yard(tmp_path: Path):  # type: ignore[no-untyped-def]
    made: list[Yard] = []

    def make(**options: Any) -> Yard:
        made.append(Yard(tmp_path, **options))
        made[-1].plays = {0: [STAYS], 1: [STAYS]}
        return made[-1]

    yield make
    for yard in made:
        yard.close()


def why(yard: Yard, run_id: str) -> str:
    decision = yard.server.queue.why(yard.run(run_id))
    assert decision is not None
    return decision.reason


def test_whoever_is_not_queued_waits_for_nothing(make_yard: Callable[..., Yard]) -> None:
    yard = make_yard()
    run_id = yard.submit()
    assert yard.server.queue.why(yard.run(run_id)) is None
    yard.looks(1)
    assert yard.server.queue.why(yard.run(run_id)) is None
    assert yard.server.queue.starts([]) == []


def test_a_gang_waits_for_all_its_nodes_and_holds_back_those_behind_it(make_yard: Callable[..., Yard]) -> None:
    yard = make_yard(cpus=2)
    holder = yard.submit()
    yard.clock.advance(seconds=1)
    gang = yard.submit(node_count=2)
    yard.clock.advance(seconds=1)
    small = yard.submit()
    yard.looks(1)
    assert why(yard, gang) == f"waits for 1 of 2 nodes of 'local'; in use by {holder}"
    assert gang in why(yard, small) and "1 run ahead" in why(yard, small)


def test_targets_do_not_hold_each_other_back(make_yard: Callable[..., Yard]) -> None:
    yard = make_yard(cpus=1)
    yard.server.computes.create(ComputeSpec("cluster", max_nodes=1))
    runs = [yard.submit(), yard.submit(), yard.submit(target="cluster")]
    yard.looks(1)
    statuses = [yard.run(run).status for run in runs]
    assert statuses == [RunStatus.RUNNING, RunStatus.QUEUED, RunStatus.RUNNING]


def test_a_target_that_grows_starts_who_waits(make_yard: Callable[..., Yard]) -> None:
    yard = make_yard()
    yard.server.computes.create(ComputeSpec("cluster", max_nodes=1))
    runs = [yard.submit(target="cluster") for _ in range(2)]
    yard.looks(1)
    assert yard.run(runs[1]).status is RunStatus.QUEUED
    yard.server.computes.update("cluster", ComputeChanges(max_nodes=2))
    yard.looks(1)
    assert yard.run(runs[1]).status is RunStatus.RUNNING


def test_nodes_and_gpus_are_held_until_the_run_has_ended_whatever_it_does(make_yard: Callable[..., Yard]) -> None:
    yard = make_yard(cpus=4, gpus=1)
    first = yard.submit(gpus_per_node=1)
    yard.clock.advance(seconds=1)
    second = yard.submit(gpus_per_node=1)
    yard.looks(40)
    assert yard.run(first).status is RunStatus.NOT_RESPONDING
    assert why(yard, second) == f"waits for 1 of 1 GPU: GPU 0 in use by run {first}"
    yard.server.runs.cancel(first, "bea")
    yard.looks(1)
    assert first in why(yard, second)
    yard.until(yard.has_ended(first))
    yard.looks(1)
    assert yard.run(second).status is RunStatus.RUNNING


def test_a_run_that_another_server_had_begun_keeps_its_nodes_and_its_gpus(make_yard: Callable[..., Yard]) -> None:
    yard = make_yard(cpus=4, gpus=2)
    begun = yard.submit(gpus_per_node=1)
    start = yard.engine.on_start

    def die_of_it(job):  # type: ignore[no-untyped-def]
        start(job)
        yard.fuse.shorten(1)

    yard.engine.on_start = die_of_it
    yard.look()
    yard.engine.on_start = start
    assert yard.deaths == 1 and yard.run(begun).status is RunStatus.QUEUED
    yard.clock.advance(seconds=1)
    urgent = [yard.submit(gpus_per_node=1, priority=9) for _ in range(2)]
    decision = yard.server.queue.why(yard.run(begun))
    assert decision is not None and decision.starts
    yard.looks(1)
    given = {job.handle.run_id: job.assignment.gpus for job in yard.engine.jobs}
    assert len(yard.engine.jobs_of(begun)) == 1
    assert sorted(index for gpus in given.values() for index in gpus) == [0, 1]
    assert [yard.run(run).status for run in urgent].count(RunStatus.RUNNING) == 1


def test_interactive_runs_hold_no_node(make_yard: Callable[..., Yard]) -> None:
    from runyard.protocol.runs import InteractiveRunSpec

    yard = make_yard(cpus=1)
    yard.server.runs.start_interactive(InteractiveRunSpec("tests"), "ann")
    run_id = yard.submit()
    yard.looks(1)
    assert yard.run(run_id).status is RunStatus.RUNNING
