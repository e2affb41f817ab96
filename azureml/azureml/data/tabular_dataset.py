"""TabularDataset."""

from azureml._names import listed, reexport

_NAMES = {
    "TabularDataset": "runyard.tabular_dataset",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
