"""Azure's exceptions, by the class of ours that is raised in their place."""

from azureml._names import listed, reexport

_NAMES = {
    "ActivityFailedException": "runyard.errors",
    "AuthenticationException": "runyard.errors",
    "AzureMLException": "runyard.errors:RunyardError",
    "ComputeTargetException": "runyard.errors",
    "DatasetTimestampMissingError": "runyard.errors",
    "DatastoreNotFoundException": "runyard.errors:UnknownDatastoreError",
    "ExperimentExecutionException": "runyard.errors:RunyardError",
    "ExperimentNotFoundException": "runyard.errors:UnknownExperimentError",
    "ModelNotFoundException": "runyard.errors",
    "ModelPathNotFoundException": "runyard.errors",
    "ProjectSystemException": "runyard.errors:WorkspaceException",
    "RunConfigurationException": "runyard.errors:UserErrorException",
    "RunEnvironmentException": "runyard.errors",
    "ServiceException": "runyard.errors",
    "SnapshotException": "runyard.errors",
    "TrainingException": "runyard.errors:UserErrorException",
    "UserErrorException": "runyard.errors",
    # Azure raises it for a model that is not there ("ModelNotFound: ..."), which notebooks catch.
    "WebserviceException": "runyard.errors:ModelException",
    "WorkspaceException": "runyard.errors",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
