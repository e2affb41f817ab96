"""Azure's previews. Notebooks as what is run are here; the others say by their own names whether they are planned."""

from azureml._names import reexport

__getattr__ = reexport(__name__, {})
