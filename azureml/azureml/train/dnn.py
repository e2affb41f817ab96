"""Estimators of the deep learning frameworks, with Azure's default versions."""

from runyard import estimators
from runyard.runconfig import Gloo, Mpi, Nccl, ParameterServer

__all__ = ["Chainer", "Gloo", "Mpi", "Nccl", "ParameterServer", "PyTorch", "TensorFlow"]


class TensorFlow(estimators.TensorFlow):
    """``runyard.TensorFlow``; without ``framework_version`` it is 1.13, as in Azure."""

    default_framework_version = "1.13"


class PyTorch(estimators.PyTorch):
    """``runyard.PyTorch``; without ``framework_version`` it is 1.4, as in Azure."""

    default_framework_version = "1.4"


class Chainer(estimators.Chainer):
    """``runyard.Chainer``; without ``framework_version`` it is 7.0.0, as in Azure."""

    default_framework_version = "7.0.0"
