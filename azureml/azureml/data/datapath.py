"""DataPath, and how it comes to a run."""

from azureml._names import listed, reexport

_NAMES = {
    "DataPath": "runyard.datapath",
    "DataPathComputeBinding": "runyard.datapath",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
