"""Workspace."""

from azureml._names import listed, reexport

_NAMES = {
    "Workspace": "runyard.workspace",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
