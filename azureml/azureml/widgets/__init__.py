"""RunDetails: a run shown in a notebook."""

from azureml._names import listed, reexport

_NAMES = {
    "RunDetails": "runyard.notebook.run_details",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
