"""MPI over nodes of a real Slurm that see neither the server's folder nor each other's disk."""

from pathlib import Path

import pytest

from runyard import Environment
from runyard.runconfig import MpiConfiguration
from runyard_server.testing.slurm_cluster import started_cluster
from runyard_server.testing.slurm_yard import SlurmYard

pytestmark = pytest.mark.slurm

SUMS = """
import os
from mpi4py import MPI
world = MPI.COMM_WORLD
print(world.allreduce(world.rank + 1), world.rank, os.environ["SLURMD_NODENAME"], os.getcwd(), flush=True)
os.makedirs("outputs", exist_ok=True)
open("outputs/of-%d.txt" % world.rank, "w").write("sum")
"""
FAILS = """
from mpi4py import MPI
if MPI.COMM_WORLD.rank == 1:
    raise SystemExit(4)
MPI.COMM_WORLD.Barrier()
"""


@pytest.mark.network
def test_mpi_brings_the_ranks_of_two_nodes_together_and_one_that_fails_ends_the_others(
    with_mpi: Environment, runyard_home: Path, tmp_path: Path
) -> None:
    disk = runyard_home / "disk"  # each node has another one there
    with started_cluster(nodes=2, hidden=runyard_home) as cluster, cluster.inside():
        yard = SlurmYard(cluster, "own-disks-mpi", scratch=str(disk))
        try:
            two_each = MpiConfiguration(process_count_per_node=2, node_count=2)
            run = yard.submit(tmp_path / "sums", SUMS, with_mpi, distributed_job_config=two_each)
            assert yard.end(run)["status"] == "Completed", yard.end(run)
            said = [run._read_log(f"azureml-logs/70_driver_log_{rank}.txt").split() for rank in range(4)]
            assert [words[:3] for words in said] == [["10", str(rank), f"n{1 + rank // 2}"] for rank in range(4)]
            assert all(words[3].startswith(str(disk)) for words in said)
            assert {f"outputs/of-{rank}.txt" for rank in range(4)} <= set(run.get_file_names())

            one_each = MpiConfiguration(process_count_per_node=1, node_count=2)
            fails = yard.submit(tmp_path / "fails", FAILS, with_mpi, distributed_job_config=one_each)
            error = yard.error(fails)
            assert (error["rank"], error["exit_code"]) == (1, 4)
        finally:
            yard.close()
