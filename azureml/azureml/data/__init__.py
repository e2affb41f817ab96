"""Data on datastores."""

from azureml._names import reexport

__getattr__ = reexport(__name__, {"DataReference": "runyard.data_reference"})
