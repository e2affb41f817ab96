"""The base of datastores. Every datastore is one class here."""

from azureml._names import listed, reexport

_NAMES = {
    "AbstractDatastore": "runyard.datastore:Datastore",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
