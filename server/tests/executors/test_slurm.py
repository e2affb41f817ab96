"""The Slurm executor on a real Slurm: the contract, and what is its own (states, reasons, a controller that is away)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from runyard_server.executors.base import Ability, Executor, JobHandle, JobState
from runyard_server.executors.slurm import SlurmExecutor
from runyard_server.executors.slurm.commands import Commands
from runyard_server.testing.executor_contract import (
    STAY,
    Away,
    ExecutorContract,
    Fill,
    Lose,
    MakeExecutor,
    QueueContract,
    job_request,
)
from runyard_server.testing.slurm_cluster import SlurmCluster

pytestmark = pytest.mark.slurm


@pytest.fixture
def slurm(slurm_cluster: SlurmCluster) -> Iterator[SlurmCluster]:
    """The cluster with this test inside; its nodes are free again afterwards."""
    with slurm_cluster.inside():
        yield slurm_cluster
    slurm_cluster.clear()


class TestSlurmExecutor(QueueContract, ExecutorContract):
    patience_s = 240.0

    @pytest.fixture
    def commands(self) -> Commands:
        """How all executors of a test call Slurm."""
        return Commands()

    @pytest.fixture
    def home(self, tmp_path: Path) -> Path:
        return tmp_path / "ho me 'of' \"jobs\""

    @pytest.fixture
    def new_executor(self, slurm: SlurmCluster, commands: Commands) -> MakeExecutor:
        return lambda: SlurmExecutor(commands, look_every_s=0.2)

    @pytest.fixture
    def lose(self, slurm: SlurmCluster) -> Iterator[Lose]:
        dead: list[str] = []

        def lose(handle: JobHandle) -> None:
            dead.extend(slurm.nodes_of(handle.job_id.split("/")[0]))
            for name in dead:
                slurm.lose_node(name)

        yield lose
        for name in dead:
            slurm.start_node(name)

    @pytest.fixture
    def fill(self, slurm: SlurmCluster) -> Fill:
        return slurm.fill

    @pytest.fixture
    def away(self, slurm: SlurmCluster) -> Away:
        @contextmanager
        def away() -> Iterator[None]:
            slurm.stop_controller()
            try:
                yield
            finally:
                slurm.start_controller()

        return away

    @pytest.fixture
    def calls(self, commands: Commands) -> Callable[[], int]:
        return lambda: sum(commands.calls.values())

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
