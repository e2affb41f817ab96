"""The Ray executor on a real Ray in token mode: the contract, and what is its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runyard_server.executors.base import Ability, Executor
from runyard_server.executors.ray import RayExecutor
from runyard_server.executors.ray.tokens import Tokens
from runyard_server.testing.executor_contract import ExecutorContract, MakeExecutor
from runyard_server.testing.ray_cluster import RayCluster

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture
def ray(ray_cluster: RayCluster) -> Iterator[RayCluster]:
    """The cluster with this test inside; its nodes are free again afterwards."""
    with ray_cluster.inside():
        yield ray_cluster
        ray_cluster.clear()


class TestRayExecutor(ExecutorContract):
    patience_s = 180.0

    @pytest.fixture
    def home(self, tmp_path: Path) -> Path:
        return tmp_path / "ho me 'of' \"jobs\""

    @pytest.fixture
    def make_executor(self, ray: RayCluster, tmp_path: Path) -> Iterator[MakeExecutor]:
        made: list[Executor] = []
        Tokens(tmp_path / "tokens.json").keep(ray.url, ray.token)

        def make() -> Executor:
            made.append(RayExecutor(tmp_path / "tokens.json", look_every_s=0.2, address=ray.url))
            return made[-1]

        yield make
        for executor in made:
            executor.close()

    def test_it_promises_gangs_in_one_folder_and_a_queue_of_its_own(self, executor: Executor) -> None:
        assert executor.abilities == {Ability.MULTI_NODE, Ability.SHARED_FOLDER, Ability.QUEUES}
