"""CondaDependencies."""

from azureml._names import listed, reexport

_NAMES = {
    "CondaDependencies": "runyard.conda_dependencies",
    "CPU": "runyard.conda_dependencies",
    "GPU": "runyard.conda_dependencies",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
