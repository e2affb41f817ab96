"""Azure's ways to log in, accepted so that scripts run unchanged.

A workspace here needs none of them: an embedded one has a token in a file of its owner, a team's server
one in ``RUNYARD_TOKEN``.
"""

import os
from typing import Any, Callable, Dict, Optional

from runyard.absent import answering
from runyard.errors import AuthenticationException
from runyard.notices import say_once


@answering("azureml.core.authentication.AbstractAuthentication")
class AbstractAuthentication:
    """What ``Workspace(auth=...)`` takes."""

    def __init__(self, cloud: Optional[str] = None) -> None:
        say_once(
            "{} is accepted and not used: a workspace on this machine has its own token, a team's server takes the one "
            "in RUNYARD_TOKEN.".format(type(self).__name__)
        )

    def get_authentication_header(self) -> Dict[str, str]:
        """The header that a request to the team's server carries, for programs that speak to its REST interface.

        Raises:
            AuthenticationException: ``RUNYARD_TOKEN`` is not set.
        """
        token = os.environ.get("RUNYARD_TOKEN")
        if not token:
            raise AuthenticationException(
                "There is no token for a request of your own: set RUNYARD_TOKEN to the one that the server's owner gave "
                "you. Workspace and Experiment need none of this; they find the token themselves."
            )
        return {"Authorization": "Bearer " + token}


class InteractiveLoginAuthentication(AbstractAuthentication):
    """Azure's login in a browser."""

    def __init__(self, force: bool = False, tenant_id: Optional[str] = None, cloud: Optional[str] = None) -> None:
        super().__init__(cloud)


class ServicePrincipalAuthentication(AbstractAuthentication):
    """Azure's login of a program. The password is neither kept nor sent."""

    def __init__(
        self,
        tenant_id: str,
        service_principal_id: str,
        service_principal_password: str,
        cloud: Optional[str] = None,
        _enable_caching: bool = True,
    ) -> None:
        super().__init__(cloud)


class AzureCliAuthentication(AbstractAuthentication):
    """Azure's login through its command line."""


class MsiAuthentication(AbstractAuthentication):
    """Azure's login of a virtual machine."""

    def __init__(self, identity_config: Any = None, cloud: Optional[str] = None) -> None:
        super().__init__(cloud)


class TokenAuthentication(AbstractAuthentication):
    """Azure's login with a token that a function gives. The function is not called."""

    def __init__(self, get_token_for_audience: Callable[[str], str], cloud: Optional[str] = None) -> None:
        super().__init__(cloud)
