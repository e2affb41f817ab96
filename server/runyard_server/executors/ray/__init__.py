"""Jobs on a Ray cluster, spoken to by its Jobs API over HTTP."""

from runyard_server.executors.ray.executor import RayExecutor

__all__ = ["RayExecutor"]
