"""Datastore."""

from azureml._names import listed, reexport

_NAMES = {
    "Datastore": "runyard.datastore",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
