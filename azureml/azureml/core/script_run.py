"""ScriptRun: what submitting a script gives. Every run is one class here."""

from azureml._names import listed, reexport

_NAMES = {
    "ScriptRun": "runyard.run:Run",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
