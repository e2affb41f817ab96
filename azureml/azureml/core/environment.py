"""Environment."""

from azureml._names import listed, reexport

_NAMES = {
    "Environment": "runyard.environment",
    "CondaDependencies": "runyard.conda_dependencies",
    "DockerSection": "runyard.environment",
    "PythonSection": "runyard.environment",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
