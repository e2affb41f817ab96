"""What a cluster is to be: the configuration that ``ComputeTarget.create`` takes, and its checks."""

from typing import Any, Dict, List, Optional

from runyard.errors import ComputeTargetException
from runyard.names import checked_pairs
from runyard.protocol.compute import ComputeSpec

_PRIORITIES = ("dedicated", "lowpriority")


class AmlComputeProvisioningConfiguration:
    """What ``ComputeTarget.create`` is to make; see ``AmlCompute.provisioning_configuration``."""

    def __init__(
        self,
        vm_size: str = "",
        vm_priority: str = "dedicated",
        min_nodes: int = 0,
        max_nodes: Optional[int] = None,
        idle_seconds_before_scaledown: Optional[int] = 1800,
        admin_username: Optional[str] = None,
        admin_user_password: Optional[str] = None,
        admin_user_ssh_key: Optional[str] = None,
        vnet_resourcegroup_name: Optional[str] = None,
        vnet_name: Optional[str] = None,
        subnet_name: Optional[str] = None,
        tags: Optional[Dict[str, str]] = None,
        description: Optional[str] = None,
        remote_login_port_public_access: str = "NotSpecified",
        identity_type: Optional[str] = None,
        identity_id: Optional[List[str]] = None,
        compute_location: Optional[str] = None,
        enable_node_public_ip: bool = True,
        executor: Optional[str] = None,
        strict: bool = False,
    ) -> None:
        self.vm_size = vm_size or ""
        self.vm_priority = vm_priority or "dedicated"
        self.min_nodes = 0 if min_nodes is None else min_nodes
        self.max_nodes = max_nodes
        self.idle_seconds_before_scaledown = idle_seconds_before_scaledown
        self.tags = tags
        self.description = description
        self.executor = executor
        self.strict = strict

    def validate_configuration(self) -> None:
        """Raises ComputeTargetException if it cannot be: the message says what is allowed."""
        if self.max_nodes is None:
            raise ComputeTargetException(
                "Invalid configuration, max_nodes must be provided: the largest number of nodes, "
                "for instance max_nodes=4."
            )
        most, least = whole("max_nodes", self.max_nodes), whole("min_nodes", self.min_nodes)
        if most < 1 or not 0 <= least <= most:
            raise ComputeTargetException(
                "Invalid configuration, min_nodes={} and max_nodes={} do not fit: max_nodes is 1 or more, "
                "and min_nodes lies between 0 and max_nodes.".format(least, most)
            )
        if not isinstance(self.vm_size, str):
            raise ComputeTargetException("vm_size is a name such as 'STANDARD_NC6'; this is {!r}.".format(self.vm_size))
        if str(self.vm_priority).lower() not in _PRIORITIES:
            raise ComputeTargetException(
                "There is no vm_priority {!r}. Choose one of: {}.".format(self.vm_priority, ", ".join(_PRIORITIES))
            )
        seconds(self.idle_seconds_before_scaledown)
        checked_pairs(self.tags)

    def prepare(self) -> None:
        """What is to be done on this machine before the server is asked: nothing, for most."""

    def to_spec(self, name: str) -> ComputeSpec:
        assert self.max_nodes is not None
        return ComputeSpec(
            name=name,
            vm_size=self.vm_size,
            vm_priority=str(self.vm_priority).lower(),
            min_nodes=self.min_nodes,
            max_nodes=self.max_nodes,
            idle_seconds_before_scaledown=seconds(self.idle_seconds_before_scaledown),
            executor=self.executor,
            strict=bool(self.strict),
            tags=checked_pairs(self.tags),
            description=self.description,
        )


class EngineConfiguration(AmlComputeProvisioningConfiguration):
    """The same for nodes that an engine of the name ``ENGINE`` gives: by default one run gets as many as that has."""

    ENGINE: str
    KIND: str

    def __init__(
        self,
        max_nodes: Optional[int] = None,
        vm_size: str = "",
        tags: Optional[Dict[str, str]] = None,
        description: Optional[str] = None,
    ) -> None:
        super().__init__(
            vm_size=vm_size,
            max_nodes=max_nodes,
            idle_seconds_before_scaledown=None,
            tags=tags,
            description=description,
            executor=self.ENGINE,
        )

    def validate_configuration(self) -> None:
        """Raises ComputeTargetException for what cannot be; the rest is checked against the engine."""
        if self.max_nodes is not None:
            super().validate_configuration()

    def to_spec(self, name: str) -> ComputeSpec:
        return ComputeSpec(
            name=name,
            vm_size=self.vm_size,
            min_nodes=self.min_nodes,
            max_nodes=self.max_nodes or 0,
            idle_seconds_before_scaledown=None,
            executor=self.executor,
            tags=dict(self.tags or {}),
            description=self.description,
            type=self.KIND,
        )


def whole(what: str, value: Any) -> int:
    """``value`` if it is an int; ``what`` names it in the message."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ComputeTargetException("{} is a whole number; this is {!r}.".format(what, value))
    return value


def seconds(value: Any) -> Optional[int]:
    """An idle time, None for none of its own."""
    if value is None:
        return None
    checked = whole("idle_seconds_before_scaledown", value)
    if checked < 0:
        raise ComputeTargetException("idle_seconds_before_scaledown is 0 or more seconds; this is {}.".format(checked))
    return checked
