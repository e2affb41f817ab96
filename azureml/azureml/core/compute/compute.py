"""The base of compute targets."""

from azureml._names import listed, reexport

_NAMES = {
    "ComputeTarget": "runyard.compute",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
