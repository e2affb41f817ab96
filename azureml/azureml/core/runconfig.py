"""How a script is run."""

from azureml._names import listed, reexport

_NAMES = {
    "RunConfiguration": "runyard.runconfig",
    "MpiConfiguration": "runyard.runconfig",
    "TensorflowConfiguration": "runyard.runconfig",
    "PyTorchConfiguration": "runyard.runconfig",
    "DataReferenceConfiguration": "runyard.runconfig",
    "DockerConfiguration": "runyard.runconfig",
    "HistoryConfiguration": "runyard.runconfig",
    "AmlComputeConfiguration": "runyard.runconfig",
    "DEFAULT_CPU_IMAGE": "runyard.runconfig",
    "DEFAULT_GPU_IMAGE": "runyard.runconfig",
    "CondaDependencies": "runyard.conda_dependencies",
    "ContainerRegistry": "runyard.container_registry",
    "Environment": "runyard.environment",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
