"""DataPath."""

from azureml._names import listed, reexport

_NAMES = {
    "DataPath": "runyard.datapath",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
