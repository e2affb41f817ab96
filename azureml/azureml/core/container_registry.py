"""ContainerRegistry."""

from azureml._names import listed, reexport

_NAMES = {
    "ContainerRegistry": "runyard.container_registry",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
