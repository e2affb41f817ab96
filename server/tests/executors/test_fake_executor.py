"""The engine in memory keeps the contract, so that what the lifecycle's tests show on it holds on others."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from runyard_server.executors.base import JobState
from runyard_server.testing.executor_contract import DEAF, STAY, JobContract, MakeExecutor, job_request
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


class TestFakeExecutor(JobContract):
    @pytest.fixture
    def home(self, tmp_path: Path) -> Path:
        return tmp_path

    @pytest.fixture
    def engine(self) -> FakeEngine:
        engine = FakeEngine()
        engine.on_start = play
        return engine

    @pytest.fixture
    def make_executor(self, engine: FakeEngine) -> Iterator[MakeExecutor]:
        yield engine.executor

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

    def test_an_engine_that_is_away_answers_nothing_and_keeps_its_jobs(self, engine: FakeEngine, home: Path) -> None:
        executor = engine.executor()
        handles = executor.start(executor.plan(job_request(home, STAY)))
        engine.away = ConnectionError("no route to the engine")
        with pytest.raises(ConnectionError):
            executor.observe(handles)
        engine.away = None
        assert executor.observe(handles)[handles[0]].state is JobState.RUNNING
