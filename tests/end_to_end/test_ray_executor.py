"""The Ray executor on a real Ray in token mode: the contract, and what is its own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from runyard.protocol.compute import RaySpec
from runyard_server.executors.base import Ability, Executor, JobHandle
from runyard_server.executors.ray import RayExecutor
from runyard_server.executors.ray.tokens import Tokens
from runyard_server.testing.executor_contract import (
    Away,
    ExecutorContract,
    Fill,
    Lose,
    MakeExecutor,
    QueueContract,
)
from runyard_server.testing.ray_cluster import RayCluster

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture
def ray(ray_cluster: RayCluster) -> Iterator[RayCluster]:
    """The cluster with this test inside; its nodes are free again afterwards."""
    with ray_cluster.inside():
        yield ray_cluster
        ray_cluster.clear()


class TestRayExecutor(QueueContract, ExecutorContract):
    patience_s = 180.0
    # Ray takes a job back that waits only when it has started a process for it. We give it no more at a time by default.
    many = RaySpec("").max_jobs
    ends_by = frozenset({"SIGTERM", "SIGKILL"})  # Ray itself sends the one, three seconds before the other

    @pytest.fixture
    def home(self, tmp_path: Path) -> Path:
        return tmp_path / "ho me 'of' \"jobs\""

    @pytest.fixture
    def new_executor(self, ray: RayCluster, tmp_path: Path) -> MakeExecutor:
        Tokens(tmp_path / "tokens.json").keep(ray.url, ray.token)
        return lambda: RayExecutor(tmp_path / "tokens.json", look_every_s=0.2, address=ray.url)

    @pytest.fixture
    def lose(self, ray: RayCluster) -> Iterator[Lose]:
        dead: list[str] = []

        def lose(handle: JobHandle) -> None:
            dead.append(ray.node_of(handle.job_id.split("|")[1]))
            ray.kill_node(dead[-1])

        yield lose
        for name in dead:
            ray.restart_node(name)

    @pytest.fixture
    def fill(self, ray: RayCluster) -> Fill:
        return ray.fill

    @pytest.fixture
    def away(self, ray: RayCluster) -> Away:
        return lambda: ray.cut_off(urlsplit(ray.url).port)

    @pytest.fixture
    def calls(self, made: list[RayExecutor]) -> Callable[[], int]:
        return lambda: sum(executor.calls for executor in made)

    def test_it_promises_gangs_in_one_folder_and_a_queue_of_its_own(self, executor: Executor) -> None:
        assert executor.abilities == {Ability.MULTI_NODE, Ability.SHARED_FOLDER, Ability.QUEUES}
