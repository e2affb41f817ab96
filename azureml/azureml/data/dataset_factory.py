"""The makers of datasets."""

from azureml._names import listed, reexport

_NAMES = {
    "DataType": "runyard.tabular_factory",
    "FileDatasetFactory": "runyard.dataset",
    "TabularDatasetFactory": "runyard.tabular_factory",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
