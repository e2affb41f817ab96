"""The base of datasets."""

from azureml._names import listed, reexport

_NAMES = {
    "AbstractDataset": "runyard.abstract_dataset",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
