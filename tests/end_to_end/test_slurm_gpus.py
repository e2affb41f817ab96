"""Runs on a real Slurm whose nodes have GPUs, by their own word, and features: each run gets GPUs that no other has."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runyard import ComputeTarget, Environment, SlurmCompute
from runyard.errors import ComputeTargetException
from runyard.run import Run
from runyard.runconfig import PyTorchConfiguration
from runyard_server.testing.slurm_cluster import started_cluster
from runyard_server.testing.slurm_yard import SlurmYard

pytestmark = pytest.mark.slurm

# What a rank sees, and then it stays.
SHOWS = """
import os, signal
print("gpus", os.environ["CUDA_VISIBLE_DEVICES"], "of", os.environ["SLURMD_NODENAME"], flush=True)
signal.pause()
"""
Submit = Callable[..., Run]


@pytest.fixture(scope="module")
def yard(runyard_home: Path) -> Iterator[SlurmYard]:
    """A cluster of two nodes with two GPUs each; the second one is "fast"."""
    with started_cluster(nodes=2, gpus=2, features={"n2": "fast,ib"}) as cluster, cluster.inside():
        yard = SlurmYard(cluster, "with-gpus")
        yield yard
        yard.close()


@pytest.fixture
def submit(yard: SlurmYard, this_python: Environment, tmp_path: Path) -> Iterator[Submit]:
    """Submits a script that shows its GPUs; its run is cancelled at the end."""
    with yard.submitting(tmp_path, this_python) as submit:
        yield lambda target, **config: submit(SHOWS, compute_target=target, **config)
    yard.cluster.clear()


def target(yard: SlurmYard, name: str, **options: Any) -> str:
    asked = {"partition": "main", "cpus_per_node": 1, "gres": "gpu:2", "python": sys.executable, **options}
    ComputeTarget.create(yard.workspace, name, SlurmCompute.provisioning_configuration(**asked))
    return name


def shown(yard: SlurmYard, run: Run, name: str = "azureml-logs/70_driver_log.txt") -> str:
    """What a rank says of its GPUs, once it does."""
    yard.until(lambda: "\n" in yard.log(run, name), f"a line of {run.id}")  # its words may come one by one
    return yard.log(run, name).strip()


def test_runs_that_share_a_node_see_different_gpus_and_others_wait_for_them(yard: SlurmYard, submit: Submit) -> None:
    fast = target(yard, "fast", constraint="fast&ib")
    first, second = (submit(fast, gpus_per_node=1) for _ in range(2))
    assert {shown(yard, first), shown(yard, second)} == {"gpus 0 of n2", "gpus 1 of n2"}
    third = submit(fast, gpus_per_node=2)  # the other node's are free: it is not fast
    yard.until(lambda: "(Resources)" in yard.why(third), "Slurm's reason")
    for run in (first, second):
        run.cancel()
    assert shown(yard, third) == "gpus 0,1 of n2"


def test_a_gang_sees_the_gpus_of_each_of_its_nodes(yard: SlurmYard, submit: Submit) -> None:
    gang = PyTorchConfiguration(node_count=2)
    run = submit(target(yard, "all"), gpus_per_node=2, distributed_job_config=gang)
    told = [shown(yard, run, f"azureml-logs/70_driver_log_{rank}.txt") for rank in range(2)]
    assert told == ["gpus 0,1 of n1", "gpus 0,1 of n2"]


def test_a_target_with_a_constraint_that_no_node_has_is_refused_with_slurms_words(yard: SlurmYard) -> None:
    with pytest.raises(ComputeTargetException, match="Invalid feature specification. Correct constraint="):
        target(yard, "faster", constraint="faster")
