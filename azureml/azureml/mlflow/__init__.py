"""Azure's plug-in for MLflow: MLflow's client needs none here, only ``Workspace.get_mlflow_tracking_uri()``."""

from azureml._names import listed, reexport

_NAMES = {
    "get_portal_url": "runyard.mlflow_tracking",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
