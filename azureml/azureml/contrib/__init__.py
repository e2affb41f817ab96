"""Azure's previews. None is here; each says by its own name whether it is planned."""

from azureml._names import reexport

__getattr__ = reexport(__name__, {})
