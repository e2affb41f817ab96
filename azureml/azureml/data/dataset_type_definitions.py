"""Words in which the files of tables are described."""

from azureml._names import listed, reexport

_NAMES = {
    "PromoteHeadersBehavior": "runyard.tabular_factory",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
