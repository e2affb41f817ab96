"""Azure's ways to log in: accepted, and not used."""

from azureml._names import listed, reexport

_NAMES = {
    "AbstractAuthentication": "runyard.authentication",
    "InteractiveLoginAuthentication": "runyard.authentication",
    "ServicePrincipalAuthentication": "runyard.authentication",
    "AzureCliAuthentication": "runyard.authentication",
    "MsiAuthentication": "runyard.authentication",
    "TokenAuthentication": "runyard.authentication",
    "AuthenticationException": "runyard.errors",
}

__getattr__ = reexport(__name__, _NAMES)
__all__ = listed(_NAMES)
