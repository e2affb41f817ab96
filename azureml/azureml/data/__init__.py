"""Data on datastores."""

from azureml._names import listed, reexport

_NAMES = {
    "DataReference": "runyard.data_reference",
    "FileDataset": "runyard.file_dataset",
    "TabularDataset": "runyard.tabular_dataset",
    "OutputFileDatasetConfig": "runyard.output_dataset",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
