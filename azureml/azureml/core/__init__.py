"""Workspace, Experiment, Run and what they need."""

import urllib.request  # noqa: F401  (notebooks write "import urllib" and call urllib.request: Azure's packages load it)

from azureml._names import listed, reexport

_NAMES = {
    "VERSION": "runyard.protocol.version",
    "__version__": "runyard.protocol.version:VERSION",
    "Workspace": "runyard.workspace",
    "Experiment": "azureml.core.experiment",
    "Run": "runyard.run",
    "Datastore": "runyard.datastore",
    "Dataset": "runyard.dataset",
    "ComputeTarget": "runyard.compute",
    "ContainerRegistry": "runyard.container_registry",
    "Environment": "runyard.environment",
    "Model": "runyard.model",
    "RunConfiguration": "runyard.runconfig",
    "ScriptRunConfig": "runyard.script_run_config",
    "ScriptRun": "runyard.run:Run",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
