"""Azure's switch for telemetry: there is none here."""

from azureml._names import listed, reexport

_NAMES = {
    "set_diagnostics_collection": "runyard.telemetry",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
