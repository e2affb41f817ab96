"""Environment."""

from azureml._names import listed, reexport

_NAMES = {
    "Environment": "runyard.environment",
    "CondaDependencies": "runyard.conda_dependencies",
    "ContainerRegistry": "runyard.container_registry",
    "DEFAULT_CPU_IMAGE": "runyard.runconfig",
    "DEFAULT_GPU_IMAGE": "runyard.runconfig",
    "ImageBuildDetails": "runyard.environment_build",
    "DockerSection": "runyard.environment",
    "PythonSection": "runyard.environment",
    "SparkSection": "runyard.environment",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
