"""DataReference."""

from azureml._names import listed, reexport

_NAMES = {
    "DataReference": "runyard.data_reference",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
