"""The engine in memory keeps the contract, so that what the lifecycle's tests show on it holds on others."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runyard_server.executors.base import EngineAwayError, JobState
from runyard_server.testing.executor_contract import (
    DEAF,
    STAY,
    Away,
    Fill,
    Lose,
    MakeExecutor,
    QueueContract,
    job_request,
)
from runyard_server.testing.fake_executor import FakeEngine, FakeJob


def play(job: FakeJob) -> None:
    """Does what the contract's program for this job would do."""
    program = job.argv[2]
    if found := re.fullmatch(r"raise SystemExit\((\d+)\)|pass", program):
        job.exit(int(found.group(1) or 0))
    elif found := re.search(r"os\.kill\(os\.getpid\(\), (?:signal\.(\w+)|9)\)", program):
        job.kill(found.group(1) or "SIGKILL")
    elif found := re.search(r"sys\.exit\((\d+)\)", program):
        code = int(found.group(1))
        job.when_asked = lambda: job.exit(code)
    elif program == STAY:
        job.when_asked = lambda: job.kill("SIGTERM")
    else:
        assert program == DEAF, f"the contract has a new program: {program}"


class TestFakeExecutor(QueueContract):
    many = 100  # each is looked for among all of them

    @pytest.fixture
    def home(self, tmp_path: Path) -> Path:
        return tmp_path

    @pytest.fixture
    def engine(self) -> FakeEngine:
        engine = FakeEngine()
        engine.on_start = play
        return engine

    @pytest.fixture
    def new_executor(self, engine: FakeEngine) -> MakeExecutor:
        return engine.executor

    @pytest.fixture
    def lose(self, engine: FakeEngine) -> Lose:
        return lambda handle: next(job for job in engine.jobs if job.handle == handle).lose()

    @pytest.fixture
    def fill(self, engine: FakeEngine) -> Fill:
        def make_room() -> None:
            engine.on_start = play
            for job in engine.jobs:
                if job.waits:
                    job.begin()

        def fill() -> Callable[[], None]:
            engine.on_start = lambda job: job.wait_for_room("all nodes are taken")
            return make_room

        return fill

    @pytest.fixture
    def away(self, engine: FakeEngine) -> Away:
        @contextmanager
        def away() -> Iterator[None]:
            engine.away = EngineAwayError("The engine does not answer.")
            yield
            engine.away = None

        return away

    @pytest.fixture
    def calls(self, engine: FakeEngine) -> Callable[[], int]:
        asked: list[None] = []
        engine.on_look = lambda: asked.append(None)
        return lambda: len(asked)

    def appears(self, home: Path, name: str) -> str:
        return ""  # a job in memory is up as soon as it is started

    def test_a_job_may_wait_for_the_engine(self, home: Path) -> None:
        engine = FakeEngine()
        engine.on_start = FakeJob.wait_for_room
        executor = engine.executor()
        (handle,) = executor.start(executor.plan(job_request(home, STAY)))
        assert executor.observe([handle])[handle].state is JobState.PENDING
        engine.jobs[0].begin()
        assert executor.observe([handle])[handle].state is JobState.RUNNING
