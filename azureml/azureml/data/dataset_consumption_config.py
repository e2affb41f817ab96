"""DatasetConsumptionConfig."""

from azureml._names import listed, reexport

_NAMES = {
    "DatasetConsumptionConfig": "runyard.dataset_consumption",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
