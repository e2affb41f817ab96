"""Runs on a real Slurm whose nodes do not see the server's folder: all they need comes to them over the network."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runyard import Environment
from runyard.run import Run
from runyard_server.testing.slurm_cluster import started_cluster
from runyard_server.testing.slurm_yard import SlurmYard

pytestmark = pytest.mark.slurm


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="module")
def yard(runyard_home: Path, scratch: Path) -> Iterator[SlurmYard]:
    """A workspace whose home the cluster's nodes do not see: in its place they have an empty folder."""
    with started_cluster(nodes=2, hidden=runyard_home) as cluster, cluster.inside():
        yard = SlurmYard(cluster, "own-disks", scratch=str(scratch))
        yield yard
        yard.close()


@pytest.fixture
def submit(yard: SlurmYard, this_python: Environment, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Submits a script given as text; what is left of its runs at the end is cancelled."""
    made: list[Run] = []

    def submit(text: str, environment: Environment | None = None, **config: Any) -> Run:
        made.append(yard.submit(tmp_path / f"source-{len(made)}", text, environment or this_python, **config))
        return made[-1]

    yield submit
    for run in made:
        run.cancel()
    yard.cluster.clear()


Submit = Callable[..., Run]

SAYS_WHERE = """
import os, sys
import runyard
from runyard import Run
run = Run.get_context()
for step in range(3):
    run.log("loss", 1 / (1 + step))
os.makedirs("outputs", exist_ok=True)
open("outputs/model.txt", "w").write("weights")
os.makedirs("logs", exist_ok=True)
open("logs/notes.txt", "w").write("noted")
print("home", os.listdir(sys.argv[1]))
print("code", os.getcwd())
print("sdk", os.path.dirname(runyard.__file__))
"""


def test_a_run_is_whole_whose_node_has_nothing_of_the_server(
    yard: SlurmYard, submit: Submit, scratch: Path, runyard_home: Path
) -> None:
    run = submit(SAYS_WHERE, arguments=[str(runyard_home)])
    ended = yard.end(run)
    assert ended["status"] == "Completed", ended
    said = run._read_log("azureml-logs/70_driver_log.txt")
    assert "home []" in said, said
    assert f"code {scratch}" in said and f"sdk {scratch}" in said
    assert run.get_metrics()["loss"] == [1.0, 0.5, 1 / 3]
    assert {"outputs/model.txt", "logs/notes.txt"} <= set(run.get_file_names())
    assert run.verify()["ok"]
    assert os.listdir(scratch / f"runyard-{os.geteuid()}" / "runs") == []
