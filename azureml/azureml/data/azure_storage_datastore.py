"""Datastores of Azure's storage, by the one class that every datastore is here."""

from azureml._names import listed, reexport

_NAMES = {
    "AbstractAzureStorageDatastore": "runyard.datastore:Datastore",
    "AzureBlobDatastore": "runyard.datastore:Datastore",
    "AzureFileDatastore": "runyard.datastore:Datastore",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
