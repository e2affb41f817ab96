"""A run's output as files on a datastore."""

from azureml._names import listed, reexport

_NAMES = {
    "OutputDatasetConfig": "runyard.output_dataset:OutputFileDatasetConfig",
    "OutputFileDatasetConfig": "runyard.output_dataset",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
