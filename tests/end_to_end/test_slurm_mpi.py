"""MPI over the nodes of a real Slurm: MPICH's process manager is started by the jobs that stand on the nodes."""

from pathlib import Path

import pytest

from runyard import Environment
from runyard.runconfig import MpiConfiguration
from runyard_server.testing.slurm_yard import SlurmYard

pytestmark = pytest.mark.slurm

SUM = """
import os
from mpi4py import MPI
world = MPI.COMM_WORLD
print(world.allreduce(world.rank + 1), os.environ["OMPI_COMM_WORLD_RANK"], os.environ["SLURMD_NODENAME"], flush=True)
"""


@pytest.mark.network
def test_mpi_brings_the_ranks_of_two_nodes_together(
    with_mpi: Environment, slurm_yard: SlurmYard, tmp_path: Path
) -> None:
    config = MpiConfiguration(process_count_per_node=2, node_count=2)
    run = slurm_yard.submit(tmp_path / "source", SUM, with_mpi, distributed_job_config=config)
    assert slurm_yard.end(run)["status"] == "Completed", slurm_yard.end(run)
    said = [run._read_log(f"azureml-logs/70_driver_log_{rank}.txt").split() for rank in range(4)]
    assert said == [["10", "0", "n1"], ["10", "1", "n1"], ["10", "2", "n2"], ["10", "3", "n2"]]
