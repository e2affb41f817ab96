"""The history of runs as event files of TensorBoard's."""

from azureml._names import listed, reexport

_NAMES = {
    "export_to_tensorboard": "runyard.tensorboard_export",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
