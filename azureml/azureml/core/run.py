"""Run."""

from azureml._names import listed, reexport

_NAMES = {
    "Run": "runyard.run",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
