"""TensorBoard beside runs, by its older name."""

from azureml._names import listed, reexport

_NAMES = {
    "Tensorboard": "runyard.tensorboard",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
