"""ScriptRunConfig."""

from azureml._names import listed, reexport

_NAMES = {
    "ScriptRunConfig": "runyard.script_run_config",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
