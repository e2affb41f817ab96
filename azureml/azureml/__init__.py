"""The import names of Azure ML SDK v1, answered by runyard. Never install it beside Microsoft's packages."""

from azureml._names import answer_for_absent_modules, reexport

answer_for_absent_modules()

__getattr__ = reexport(__name__, {"__version__": "runyard.protocol.version:VERSION"})
