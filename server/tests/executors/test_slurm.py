"""The Slurm executor on a real Slurm: the contract, and what is its own (states, reasons, a controller that is away)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runyard_server.executors.base import Ability, Executor
from runyard_server.executors.slurm import SlurmExecutor
from runyard_server.testing.executor_contract import ExecutorContract, MakeExecutor
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
