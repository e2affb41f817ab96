"""The server dies between any two things that outlive it, and the run's end is the same.

A story is told once without a death; that counts the steps. Then it is told again for each step, with a server
that dies there: before a transaction is committed, after it, and after each job that the engine starts or ends.

The stories of ``FULLY`` are told for each step, the others for every third; ``HYPOTHESIS_PROFILE=deep`` tells all.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runyard.protocol.runs import ClientProcess, DistributionSpec, InteractiveRunSpec, RunError
from runyard.protocol.status import RunStatus
from runyard_server.testing.mortal_server import MortalDatabase, MortalWorld, sqlite_in
from runyard_server.testing.played_jobs import Fate, Play

RUN = "tests_1"
TORCH = DistributionSpec(kind="torch")


@dataclass(frozen=True)
class Story:
    """What people and jobs do. ``tell`` has the run ``RUN`` ended; ``plays``: of its jobs, by node."""

    tell: Callable[[MortalWorld], None]
    plays: dict[int, list[Play]]

    def play(self, run_id: str, node: int) -> list[Play]:
        return self.plays[node]


@dataclass(frozen=True)
class End:
    """All that may be seen of a run that has ended, and of the machine after it."""

    status: RunStatus
    reason: str | None
    message: str | None
    error: RunError | None
    path: list[tuple[RunStatus, str]]
    warnings: list[str]
    jobs: list[tuple[int, int]]  # node and salvage of each job, in order
    starts_of_ranks: list[int]  # by node
    ports_of_ranks: int  # different ones that the nodes of the gang were told
    unstored: dict[str, bytes]  # what lies on the nodes beyond what the history has, by log
    files: list[str]
    is_proven: bool
    left: list[str]


def submit(world: MortalWorld, **changes: Any) -> None:
    spec = world.ask(lambda server: server.spec(id=RUN, **changes))
    world.ask(lambda server: server.runs.submit(spec, "ann"))


def goes_by_itself(world: MortalWorld, **changes: Any) -> None:
    submit(world, **changes)
    world.until(world.has_ended(RUN))


def is_cancelled(world: MortalWorld, **changes: Any) -> None:
    submit(world, **changes)
    world.until(lambda: bool(world.players) and world.players[0].written > 0)
    world.ask(lambda server: server.runs.cancel(RUN, "bea"))
    world.until(world.has_ended(RUN))


def is_cancelled_while_salvaged(world: MortalWorld) -> None:
    submit(world)
    world.until(lambda: len(world.engine.jobs) > 1)
    world.ask(lambda server: server.runs.cancel(RUN, "bea"))
    world.until(world.has_ended(RUN))


def is_cancelled_at_once(world: MortalWorld) -> None:
    submit(world)
    world.ask(lambda server: server.runs.cancel(RUN, "bea"))
    world.until(world.has_ended(RUN))


def is_a_notebook(world: MortalWorld) -> None:
    # A client on another machine: nothing but its heartbeats is seen of it.
    spec = InteractiveRunSpec("tests", id=RUN, process=ClientProcess(1, 1, "elsewhere"))
    lines = b'["s", "loss", 0.5, 1.0]\n["s", "loss", 0.25, 2.0]\n'
    world.ask(lambda server: server.runs.start_interactive(spec, "ann"))
    for _ in range(3):
        world.round(seconds=20)
        world.ask(lambda server: server.runs.heartbeat(RUN))
    world.ask(lambda server: server.metrics.take(RUN, "client", 0, lines))
    world.ask(lambda server: server.runs.complete(RUN, "ann"))


def is_a_notebook_that_dies(world: MortalWorld) -> None:
    spec = InteractiveRunSpec("tests", id=RUN, process=ClientProcess(1, 1, "elsewhere"))
    world.ask(lambda server: server.runs.start_interactive(spec, "ann"))
    for _ in range(20):
        world.round(seconds=20)
    world.until(world.has_ended(RUN))


GANG = {0: [Play()], 1: [Play()]}
STORIES = {
    "a script that ends well": Story(goes_by_itself, {0: [Play()]}),
    "a script that fails": Story(goes_by_itself, {0: [Play(exit_code=3)]}),
    "a run that is cancelled while it runs": Story(is_cancelled, {0: [Play(lines=None)]}),
    "a run that is cancelled at once": Story(is_cancelled_at_once, {0: [Play(lines=None)]}),
    "a job that is lost": Story(goes_by_itself, {0: [Play(fate=Fate.DIES_RUNNING)]}),
    "a job that is lost while it collects, and its first salvage too": Story(
        goes_by_itself, {0: [Play(fate=Fate.DIES_COLLECTING), Play(fate=Fate.DIES_COLLECTING), Play()]}
    ),
    "a job that nobody can salvage": Story(goes_by_itself, {0: [Play(fate=Fate.DIES_COLLECTING)]}),
    "a run that is cancelled while its lost job is salvaged": Story(
        is_cancelled_while_salvaged, {0: [Play(fate=Fate.DIES_RUNNING)]}
    ),
    "a gang": Story(lambda world: goes_by_itself(world, node_count=2, distribution=TORCH), GANG),
    "a gang of which one node fails": Story(
        lambda world: goes_by_itself(world, node_count=2), {0: [Play(lines=None)], 1: [Play(exit_code=1)]}
    ),
    "a gang of which one node is lost": Story(
        lambda world: goes_by_itself(world, node_count=2), {0: [Play(lines=None)], 1: [Play(fate=Fate.DIES_RUNNING)]}
    ),
    "a gang that is cancelled": Story(
        lambda world: is_cancelled(world, node_count=2), {0: [Play(lines=None)], 1: [Play(lines=None)]}
    ),
    "a notebook's run": Story(is_a_notebook, {}),
    "a notebook that dies": Story(is_a_notebook_that_dies, {}),
}


FULLY = {
    "a script that ends well",
    "a run that is cancelled while it runs",
    "a job that is lost",
    "a gang",
    "a notebook's run",
}
IS_DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"


def told(story: Story, folder: Path, database: MortalDatabase, dies_at: int = 0) -> tuple[End, MortalWorld]:
    """The story's end with a server that dies at a step; with none, where that is 0."""
    folder.mkdir()
    world = MortalWorld(folder, database, dies_at=[dies_at], play=story.play)
    try:
        story.tell(world)
        world.restart()  # what a server may leave undone, the next one does when it starts
        return end_of(world), world
    finally:
        world.close()


def end_of(world: MortalWorld) -> End:
    server = world.server
    run = server.runs.get(RUN)
    return End(
        run.status,
        run.reason,
        run.message,
        run.error,
        [(event.to_status, event.reason) for event in server.runs.events(RUN)],
        [text.replace(str(world.home), "") for text in run.warnings],
        [(job.handle.node, job.assignment.salvage) for job in world.engine.jobs],
        [disk.starts for disk in world.disks.values()],
        len({port for job in world.engine.jobs for port in job.assignment.ports if not job.assignment.salvage}),
        unstored(world),
        [path for path, _ in server.files.sizes(RUN)],
        bool(server.verification.verify(RUN)["ok"]),
        sorted(str(path.relative_to(world.home)) for name in ("runs", "logs") for path in world.home.glob(f"{name}/*")),
    )


def unstored(world: MortalWorld) -> dict[str, bytes]:
    """What lies on the nodes beyond what the history has; nothing else is there, and no point twice."""
    lacking = {}
    for player in world.players:
        name, disk = player.log_name, player.disk
        stored = world.server.files.open(RUN, name).location.read_bytes()
        assert disk.log.startswith(stored)
        if disk.log != stored:
            lacking[name] = disk.log[len(stored) :]
        points = world.server.metrics.history(RUN, player.metric)["values"] if stored else []
        assert points == list(range(len(points)))
        assert len(points) == stored.count(b"\n")
    return lacking


@pytest.mark.parametrize("name", STORIES)
def test_a_story_ends_the_same_wherever_the_server_dies(name: str, tmp_path: Path) -> None:
    story = STORIES[name]
    database = sqlite_in(tmp_path)
    wanted, world = told(story, tmp_path / "undisturbed", database)
    assert wanted.status.is_terminal and wanted.reason
    stride = 1 if IS_DEEP or name in FULLY else 3
    for step in range(1, world.fuse.passed + 1, stride):
        found, world = told(story, tmp_path / f"dies-at-{step}", database, dies_at=step)
        assert world.deaths == 2, f"the server did not die at step {step}"
        assert found == wanted, f"the server died at step {step}"


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_run_that_is_cancelled_right_after_the_server_died_is_ended(nodes: int, tmp_path: Path) -> None:
    """The one that asks is quicker than the new server's first look."""
    database = sqlite_in(tmp_path)
    story = Story(lambda world: goes_by_itself(world, node_count=nodes), GANG)
    _, undisturbed = told(story, tmp_path / "undisturbed", database)
    stride = 1 if IS_DEEP or nodes == 2 else 3
    for step in range(1, undisturbed.fuse.passed + 1, stride):
        folder = tmp_path / f"dies-at-{step}"
        folder.mkdir()
        world = MortalWorld(folder, database, dies_at=[step], play=story.play)
        submit(world, node_count=nodes)
        world.until(lambda world=world: world.deaths > 0)  # type: ignore[misc]
        had_ended = world.server.runs.get(RUN).status.is_terminal
        world.ask(lambda server: server.runs.cancel(RUN, "bea"))
        world.until(world.has_ended(RUN))
        for _ in range(3):
            world.round()
        run = world.server.runs.get(RUN)
        assert run.status is (RunStatus.COMPLETED if had_ended else RunStatus.CANCELED), f"died at step {step}"
        assert all(job.is_over for job in world.engine.jobs), f"died at step {step}"
        assert all(disk.starts <= 1 for disk in world.disks.values())
        world.close()
