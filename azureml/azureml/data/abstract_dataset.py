"""The base of datasets; files are the only ones here."""

from azureml._names import listed, reexport

_NAMES = {
    "AbstractDataset": "runyard.file_dataset:FileDataset",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
