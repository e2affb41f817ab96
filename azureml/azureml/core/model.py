"""Model."""

from azureml._names import listed, reexport

_NAMES = {
    "Model": "runyard.model",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
