"""The import names of Azure ML SDK v1, answered by runyard. Never install it beside Microsoft's packages."""

from azureml._names import reexport

__getattr__ = reexport(__name__, {"__version__": "runyard.protocol.version:VERSION"})
