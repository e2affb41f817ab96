"""The estimator of scikit-learn, with Azure's default version."""

from runyard import estimators

__all__ = ["SKLearn"]


class SKLearn(estimators.SKLearn):
    """``runyard.SKLearn``; without ``framework_version`` it is 0.20.3, as in Azure."""

    default_framework_version = "0.20.3"
