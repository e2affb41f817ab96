"""Notebooks as what is run: what Azure's preview called by these names."""

from azureml._names import listed, reexport

_NAMES = {
    "AzureMLNotebookHandler": "runyard.notebook_run_config",
    "NotebookRunConfig": "runyard.notebook_run_config",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
