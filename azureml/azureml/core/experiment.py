"""Experiment."""

from azureml._names import listed, reexport

_NAMES = {
    "Experiment": "runyard.experiment",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
