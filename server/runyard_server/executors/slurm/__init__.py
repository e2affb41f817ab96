"""Jobs on a Slurm cluster, spoken to by its commands."""

from runyard_server.executors.slurm.executor import SlurmExecutor

__all__ = ["SlurmExecutor"]
