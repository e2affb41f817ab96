"""The Slurm executor on a real Slurm: the contract, and what is its own (states, reasons, a controller that is away)."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from runyard_server.executors.base import Ability, EngineAwayError, Executor, JobHandle, JobState
from runyard_server.executors.slurm import SlurmExecutor
from runyard_server.executors.slurm.commands import Commands
from runyard_server.testing.executor_contract import STAY, ExecutorContract, MakeExecutor, job_request
from runyard_server.testing.slurm_cluster import SlurmCluster

pytestmark = pytest.mark.slurm


@pytest.fixture
def slurm(slurm_cluster: SlurmCluster) -> Iterator[SlurmCluster]:
    """The cluster with this test inside; its nodes are free again afterwards."""
    with slurm_cluster.inside():
        yield slurm_cluster
    slurm_cluster.clear()


class TestSlurmExecutor(ExecutorContract):
    @pytest.fixture
    def home(self, tmp_path: Path) -> Path:
        return tmp_path / "ho me 'of' \"jobs\""

    @pytest.fixture
    def make_executor(self, slurm: SlurmCluster) -> Iterator[MakeExecutor]:
        made: list[Executor] = []

        def make() -> Executor:
            made.append(SlurmExecutor(look_every_s=0.2))
            return made[-1]

        yield make
        for executor in made:
            executor.close()

    def test_it_promises_gangs_in_one_folder_and_a_queue_of_its_own(self, executor: Executor) -> None:
        assert executor.abilities == {Ability.MULTI_NODE, Ability.SHARED_FOLDER, Ability.QUEUES}

    def test_a_second_job_of_one_attempt_leaves_at_once_and_its_handle_follows_the_first(
        self, make_executor: MakeExecutor, home: Path, slurm: SlurmCluster
    ) -> None:
        executor = make_executor()
        plan = executor.plan(job_request(home, STAY))
        (handle,) = executor.start(plan)
        self.appears(home, "up")
        commands = Commands()
        number = commands.submit(plan.script)  # as a server does that died before it knew of the first
        slurm.until(lambda: commands.jobs()[number].state == "FAILED", "the end of the second job")
        other = replace(handle, job_id=f"{number}/0/0")
        later = make_executor()
        assert later.observe([other])[other].state is JobState.RUNNING
        later.cancel([other], firmly=True)
        assert self.ended(later, [other])[other].signal == "SIGKILL"
        assert self.ended(executor, [handle])[handle].signal == "SIGKILL"

    def test_a_controller_that_is_away_loses_no_job(self, executor: Executor, home: Path, slurm: SlurmCluster) -> None:
        (handle,) = executor.start(executor.plan(job_request(home, STAY)))
        self.appears(home, "up")
        slurm.stop_controller()
        with pytest.raises(EngineAwayError, match="Slurm does not answer"):
            executor.start(executor.plan(job_request(home / "late", STAY, run_id="late")))
        slurm.start_controller()
        slurm.until(lambda: _state(executor, handle) is JobState.RUNNING, "Slurm's word of the job")
        executor.cancel([handle], firmly=True)
        assert self.ended(executor, [handle])[handle].signal == "SIGKILL"


def _state(executor: Executor, handle: JobHandle) -> JobState | None:
    try:
        return executor.observe([handle])[handle].state
    except EngineAwayError:
        return None
