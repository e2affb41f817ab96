"""Estimators."""

from azureml._names import reexport

__getattr__ = reexport(__name__, {})
