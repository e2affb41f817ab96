"""AmlCompute and what it says of itself."""

from azureml._names import listed, reexport

_NAMES = {
    "AmlCompute": "runyard.compute",
    "AmlComputeStatus": "runyard.compute",
    "AmlComputeNodeStateCounts": "runyard.compute",
    "AmlComputeProvisioningConfiguration": "runyard.compute",
    "ScaleSettings": "runyard.compute",
    "ComputeTargetException": "runyard.errors",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
