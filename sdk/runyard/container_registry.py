"""Where a container image comes from."""

from typing import Optional


class ContainerRegistry:
    """The registry of an image that an environment or an estimator names.

    Attributes:
        address: host of the registry, put before the image's name; None for the image's own.
        username, password: login. They stay in this process: what pulls an image has its own.
    """

    address: Optional[str] = None
    username: Optional[str] = None
    password: Optional[str] = None

    def __init__(self) -> None:
        self.address = None
        self.username = None
        self.password = None

    def image(self, name: str) -> str:
        """``name`` as it is asked for at this registry."""
        return name if not self.address else "{}/{}".format(self.address.rstrip("/"), name)
