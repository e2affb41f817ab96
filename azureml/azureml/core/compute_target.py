"""The error of compute targets."""

from azureml._names import listed, reexport

_NAMES = {
    "ComputeTargetException": "runyard.errors",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
