"""The estimator of any framework."""

from runyard.estimators import Estimator
from runyard.runconfig import Gloo, Mpi, Nccl, ParameterServer

__all__ = ["Estimator", "Gloo", "Mpi", "Nccl", "ParameterServer"]
