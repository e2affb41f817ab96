"""runyard: submit training scripts, follow them, keep their models.

Names are imported when they are first used, so that ``import runyard`` costs almost nothing.
"""

from runyard.protocol.version import VERSION as __version__

_PLACES = {
    "Workspace": "workspace",
    "Experiment": "experiment",
    "Run": "run",
    "Datastore": "datastore",
    "DataReference": "data_reference",
    "ComputeTarget": "compute",
    "AmlCompute": "compute",
    "RayCompute": "ray_compute",
    "SlurmCompute": "slurm_compute",
    "Environment": "environment",
    "CondaDependencies": "environment",
    "ScriptRunConfig": "script_run_config",
    "RunConfiguration": "runconfig",
    "MpiConfiguration": "runconfig",
    "TensorflowConfiguration": "runconfig",
    "PyTorchConfiguration": "runconfig",
    "Estimator": "estimators",
    "TensorFlow": "estimators",
    "PyTorch": "estimators",
    "SKLearn": "estimators",
    "Chainer": "estimators",
    "Model": "model",
    "Dataset": "dataset",
    "FileDataset": "file_dataset",
    "TabularDataset": "tabular_dataset",
    "DataType": "tabular_factory",
    "OutputFileDatasetConfig": "output_dataset",
    "RunDetails": "notebook.run_details",
    "Tensorboard": "tensorboard",
    "export_to_tensorboard": "tensorboard_export",
    "ComputeTargetException": "errors",
    "RunyardError": "errors",
}

__all__ = sorted(_PLACES) + ["__version__"]


def __getattr__(name):  # type: ignore[no-untyped-def]
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError("runyard has no '{}'. It has: {}.".format(name, ", ".join(sorted(_PLACES))))
    import os
    from importlib import import_module

    if os.environ.get("RUNYARD_URL_MAP"):  # a person's own code asks; what is inside comes by other ways
        import_module("runyard.url_opener").install()
    found = getattr(import_module("runyard." + place), name)
    globals()[name] = found
    return found


def __dir__():  # type: ignore[no-untyped-def]
    return sorted(list(globals()) + list(_PLACES))
