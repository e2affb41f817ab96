"""Compute targets: named clusters that runs are sent to, with Azure ML's names, keys and words."""

import datetime
import time
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional

from runyard.absent import answering
from runyard.compute_configuration import AmlComputeProvisioningConfiguration, seconds, whole
from runyard.compute_status import AmlComputeNodeStateCounts, AmlComputeStatus, ScaleSettings, moment
from runyard.errors import ComputeTargetException
from runyard.names import check_compute_name
from runyard.notices import not_used, unless
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.compute import ComputeChanges, ComputeRecord
from runyard.transport.base import url_path

__all__ = [
    "AmlCompute",
    "AmlComputeNodeStateCounts",
    "AmlComputeProvisioningConfiguration",
    "AmlComputeStatus",
    "ComputeTarget",
    "LocalCompute",
    "ScaleSettings",
]

if TYPE_CHECKING:
    from runyard.run import Run
    from runyard.workspace import Workspace

_FIRST_WAIT_S = 0.05
_LONGEST_WAIT_S = 5.0


@answering("azureml.core.ComputeTarget")
class ComputeTarget:
    """A named cluster of the workspace. ``ComputeTarget(workspace, name)`` gives the right class for it.

    ``ComputeTarget(workspace, "local")`` is this machine, which is always there.

    Attributes:
        name, type, tags, description, provisioning_state, created_on, modified_on: as last seen;
            ``refresh_state()`` looks again. Times are aware datetimes in UTC.
    Raises:
        ComputeTargetException: there is none of that name; the message lists those that are.
    """

    def __new__(cls, workspace: "Workspace", name: str) -> "ComputeTarget":
        record = _fetch(workspace, name)
        return object.__new__(_class_of(record, cls))._take(workspace, record)

    def __init__(self, workspace: "Workspace", name: str) -> None:
        pass  # __new__ has looked it up

    def _take(self, workspace: "Workspace", record: ComputeRecord) -> "ComputeTarget":
        self.workspace = workspace
        self._record = record
        return self

    @classmethod
    def _of(cls, workspace: "Workspace", record: ComputeRecord) -> "ComputeTarget":
        return object.__new__(_class_of(record, cls))._take(workspace, record)

    @staticmethod
    def create(
        workspace: "Workspace", name: str, provisioning_configuration: "AmlComputeProvisioningConfiguration"
    ) -> "ComputeTarget":
        """Creates a compute target, or gives the one of that name.

        A present one gets the configuration's node numbers, idle time, tags and description. Its
        kind of node (vm_size, vm_priority, executor, strict) cannot change.

        Raises:
            ComputeTargetException: an unknown vm_size, numbers that do not fit, a name against the
                rules, or a present target of another kind of node.
        """
        check_compute_name(name)
        if not isinstance(provisioning_configuration, AmlComputeProvisioningConfiguration):
            raise ComputeTargetException(
                "create() takes what AmlCompute.provisioning_configuration(...) gives, not {!r}.".format(
                    type(provisioning_configuration).__name__
                )
            )
        provisioning_configuration.validate_configuration()
        provisioning_configuration.prepare()
        spec = provisioning_configuration.to_spec(name)
        answer = workspace.transport.call("POST", "/computes", json=to_json(spec))
        return ComputeTarget._of(workspace, from_json(ComputeRecord, answer))

    @staticmethod
    def attach(workspace: "Workspace", name: str, attach_configuration: Any) -> "ComputeTarget":
        """Attaches a cluster that runs already: a Ray cluster, with what ``RayCompute.attach_configuration`` gives.

        Raises:
            ComputeTargetException: the cluster is not as it was said to be, or it is another kind of machine: those
                that a workspace's server stands on are created, not attached.
        """
        from runyard.ray_compute import RayAttachConfiguration

        if isinstance(attach_configuration, RayAttachConfiguration):
            return ComputeTarget.create(workspace, name, attach_configuration)
        raise ComputeTargetException(
            "Only Ray clusters are attached (RayCompute.attach_configuration): '{}' is created with "
            "ComputeTarget.create(workspace, '{}', AmlCompute.provisioning_configuration(max_nodes=...)); "
            "'local' needs nothing.".format(name, name)
        )

    @staticmethod
    def list(workspace: "Workspace") -> "List[ComputeTarget]":
        """The workspace's compute targets, by name, without ``local``."""
        records = [from_json(ComputeRecord, item) for item in workspace.transport.call("GET", "/computes")]
        return [ComputeTarget._of(workspace, record) for record in records if record.spec.type != LocalCompute.KIND]

    @property
    def name(self) -> str:
        return self._record.spec.name

    @property
    def type(self) -> str:
        return self._record.spec.type

    @property
    def id(self) -> str:
        """Azure's resource path, made of this workspace's own words."""
        return "{}/computes/{}".format(self.workspace.name, self.name)

    @property
    def tags(self) -> Dict[str, str]:
        return dict(self._record.spec.tags)

    @property
    def description(self) -> Optional[str]:
        return self._record.spec.description

    @property
    def location(self) -> str:
        return "local"

    @property
    def provisioning_state(self) -> str:
        return self._record.provisioning_state

    @property
    def provisioning_errors(self) -> List[str]:
        return list(self._record.errors)

    @property
    def is_attached(self) -> bool:
        return False

    @property
    def created_on(self) -> datetime.datetime:
        return moment(self._record.created_at)

    @property
    def modified_on(self) -> datetime.datetime:
        return moment(self._record.modified_at)

    def refresh_state(self) -> None:
        """Looks at the target again.

        Raises:
            ComputeTargetException: it has been deleted.
        """
        self._record = _fetch(self.workspace, self.name)

    def get_status(self) -> Any:
        """The provisioning state, "Succeeded"; subclasses give more."""
        self.refresh_state()
        return self._record.provisioning_state

    def wait_for_completion(self, show_output: bool = False, is_delete_operation: bool = False) -> None:
        """Returns once the target can be used (at once: there are no machines to be fetched here)."""
        if not is_delete_operation:
            self.refresh_state()
        if show_output:
            print(self._record.provisioning_state)
            print('Provisioning operation finished, operation "{}"'.format(self._record.provisioning_state))

    def delete(self) -> None:
        """Removes the target.

        Raises:
            ComputeTargetException: unfinished runs use it, or it is ``local``.
        """
        self.workspace.transport.call("DELETE", url_path("computes", self.name))

    def detach(self) -> None:
        """As Azure: what was created is deleted, not detached.

        Raises:
            ComputeTargetException: always.
        """
        raise ComputeTargetException(
            "'{}' was created, not attached: it cannot be detached. Use delete().".format(self.name)
        )

    def serialize(self) -> Dict[str, Any]:
        """The target as a JSON object, in the shape of Azure's."""
        record = self._record
        return {
            "id": self.id,
            "name": self.name,
            "location": self.location,
            "tags": self.tags,
            "properties": {
                "computeType": self.type,
                "computeLocation": self.location,
                "description": self.description,
                "provisioningState": record.provisioning_state,
                "provisioningErrors": self.provisioning_errors,
                "isAttachedCompute": self.is_attached,
                "createdOn": _text(record.created_at),
                "modifiedOn": _text(record.modified_at),
                "properties": self._properties(),
            },
        }

    def _properties(self) -> Dict[str, Any]:
        return {}

    def _repr_html_(self) -> str:
        from runyard.notebook.cards import card

        return card(
            [
                ("Name", self.name),
                ("Workspace", self.workspace.name),
                ("Type", self.type),
                ("State", self.provisioning_state),
            ]
        )

    def __repr__(self) -> str:
        return "{}(workspace={!r}, name={!r}, type={!r}, provisioning_state={!r})".format(
            type(self).__name__, self.workspace.name, self.name, self.type, self.provisioning_state
        )


class LocalCompute(ComputeTarget):
    """This machine: ``local``."""

    KIND = "Local"

    @property
    def max_nodes(self) -> int:
        """Runs that go at the same moment."""
        return self._record.spec.max_nodes


@answering("azureml.core.compute.AmlCompute")
class AmlCompute(ComputeTarget):
    """A cluster with a kind of node and a largest size.

    Attributes:
        vm_size, vm_priority, scale_settings: what was asked for.
        status: the AmlComputeStatus as last seen.
    """

    @staticmethod
    def provisioning_configuration(
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
        location: Optional[str] = None,
        enable_node_public_ip: bool = True,
        executor: Optional[str] = None,
        strict: bool = False,
    ) -> "AmlComputeProvisioningConfiguration":
        """What to create.

        Args:
            vm_size: an Azure name such as "STANDARD_NC6" (``supported_vmsizes`` lists them), which
                says how many GPUs a node has; "" for nodes of the host as it is, without GPUs of
                its own accord.
            min_nodes, max_nodes: nodes that are always there, and at most there. ``max_nodes`` is
                mandatory.
            idle_seconds_before_scaledown: seconds until an idle node goes, where nodes cost something.
            executor: who provides the nodes ("local"); the workspace's default if None.
            strict: whether a run is refused when the host has fewer GPUs than ``vm_size`` says,
                instead of running with what is here.
            others: accounts, networks and identities of Azure's machines, which mean nothing here:
                they are taken and left aside, so that the same code runs; said once.
        Raises:
            ComputeTargetException: ``max_nodes`` is missing, or numbers do not fit together.
        """
        machines = {
            "admin_username": admin_username,
            "admin_user_password": admin_user_password,
            "admin_user_ssh_key": admin_user_ssh_key,
            "vnet_resourcegroup_name": vnet_resourcegroup_name,
            "vnet_name": vnet_name,
            "subnet_name": subnet_name,
            "remote_login_port_public_access": unless("NotSpecified", remote_login_port_public_access),
            "identity_type": identity_type,
            "identity_id": identity_id,
            "location": location,
            "enable_node_public_ip": unless(True, enable_node_public_ip),
        }
        not_used(
            "AmlCompute.provisioning_configuration",
            machines,
            "nodes are this machine's own, without accounts, networks and identities.",
        )
        configuration = AmlComputeProvisioningConfiguration(
            vm_size=vm_size,
            vm_priority=vm_priority,
            min_nodes=min_nodes,
            max_nodes=max_nodes,
            idle_seconds_before_scaledown=idle_seconds_before_scaledown,
            tags=tags,
            description=description,
            executor=executor,
            strict=strict,
        )
        configuration.validate_configuration()
        return configuration

    @staticmethod
    def supported_vmsizes(workspace: "Workspace", location: Optional[str] = None) -> "List[Dict[str, Any]]":
        """Every ``vm_size``: dictionaries with ``name``, ``vCPUs``, ``gpus`` and ``memoryGB``."""
        return [
            {"name": size["name"], "vCPUs": size["cpus"], "gpus": size["gpus"], "memoryGB": size["memory_gb"]}
            for size in workspace.transport.call("GET", "/vm_sizes")
        ]

    @property
    def vm_size(self) -> str:
        return self._record.spec.vm_size

    @property
    def vm_priority(self) -> str:
        return self._record.spec.vm_priority

    @property
    def scale_settings(self) -> "ScaleSettings":
        return ScaleSettings.of(self._record.spec)

    @property
    def status(self) -> "AmlComputeStatus":
        return AmlComputeStatus.of(self._record)

    def get(self) -> Dict[str, Any]:
        """The target, looked at again, as ``serialize`` gives it."""
        self.refresh_state()
        return self.serialize()

    def get_status(self) -> "AmlComputeStatus":
        """What the cluster does now."""
        self.refresh_state()
        return self.status

    def update(
        self,
        min_nodes: Optional[int] = None,
        max_nodes: Optional[int] = None,
        idle_seconds_before_scaledown: Optional[int] = None,
    ) -> None:
        """Changes its size; what is None stays. Runs that hold nodes keep them.

        Raises:
            ComputeTargetException: the numbers do not fit together.
        """
        changes = ComputeChanges(
            min_nodes=None if min_nodes is None else whole("min_nodes", min_nodes),
            max_nodes=None if max_nodes is None else whole("max_nodes", max_nodes),
            idle_seconds_before_scaledown=seconds(idle_seconds_before_scaledown),
        )
        answer = self.workspace.transport.call("PATCH", url_path("computes", self.name), json=to_json(changes))
        self._record = from_json(ComputeRecord, answer)

    def list_nodes(self) -> "List[Dict[str, Any]]":
        """The nodes in use: dictionaries with ``nodeId``, ``nodeState``, ``runId`` and ``gpus``."""
        found = self.workspace.transport.call("GET", url_path("computes", self.name, "nodes"))
        return [
            {"nodeId": node["name"], "nodeState": node["state"], "runId": node["run_id"], "gpus": node["gpus"]}
            for node in found
        ]

    def get_active_runs(self) -> "Iterator[Run]":
        """The target's runs that have not ended, newest first."""
        return self.workspace.get_active_runs(self.name)

    def wait_for_completion(  # type: ignore[override]  # Azure's own order of arguments
        self,
        show_output: bool = False,
        min_node_count: Optional[int] = None,
        timeout_in_minutes: float = 25,
        is_delete_operation: bool = False,
    ) -> None:
        """Waits until the target is ready and has its least number of nodes.

        Args:
            show_output: whether to print what happens.
            min_node_count: nodes to wait for; None for the target's ``min_nodes``.
            timeout_in_minutes: when to stop waiting; then a line says so and the call returns.
            is_delete_operation: wait for its end instead of its readiness.
        Raises:
            ComputeTargetException: ``min_node_count`` is more than ``max_nodes``.
        """
        say = print if show_output else _say_nothing
        if is_delete_operation:
            say("AmlCompute wait for deletion finished")
            return
        wanted = self._wanted_nodes(min_node_count)
        deadline = time.monotonic() + 60 * timeout_in_minutes
        shown, pause_s = None, _FIRST_WAIT_S
        while True:
            status = self.get_status()
            if status.provisioning_state != shown:
                shown = status.provisioning_state
                say(shown)
            if shown == "Failed" or (shown == "Succeeded" and self._record.nodes_ready >= wanted):
                break
            if time.monotonic() >= deadline:
                say("AmlCompute wait for completion finished")
                say("Wait timeout has been reached")
                say("Current provisioning state of AmlCompute is {}".format(shown))
                return
            time.sleep(min(pause_s, max(0.0, deadline - time.monotonic())))
            pause_s = min(2 * pause_s, _LONGEST_WAIT_S)
        say("AmlCompute wait for completion finished")
        if shown == "Failed":
            say("Provisioning failed: {}".format("; ".join(self.provisioning_errors)))
        else:
            say("Minimum number of nodes requested have been provisioned")

    def _wanted_nodes(self, min_node_count: Optional[int]) -> int:
        self.refresh_state()
        spec = self._record.spec
        if min_node_count is None:
            return spec.min_nodes
        wanted = whole("min_node_count", min_node_count)
        if wanted > spec.max_nodes:
            raise ComputeTargetException(
                "min_node_count={} is more than '{}' can have (max_nodes={}). "
                "Wait for fewer, or update(max_nodes={}).".format(wanted, self.name, spec.max_nodes, wanted)
            )
        return wanted

    def _properties(self) -> Dict[str, Any]:
        return {
            "vmSize": self.vm_size,
            "vmPriority": self.vm_priority,
            "scaleSettings": self.scale_settings.serialize(),
            "executor": self._record.executor,
            "status": self.status.serialize(),
        }


_CLASSES = {"AmlCompute": AmlCompute, LocalCompute.KIND: LocalCompute}


def _class_of(record: ComputeRecord, asked: type) -> type:
    found = _CLASSES.get(record.spec.type, ComputeTarget)
    if record.spec.type == "Slurm":  # it derives from a class of this module
        from runyard.slurm_compute import SlurmCompute

        found = SlurmCompute
    if record.spec.type == "Ray":
        from runyard.ray_compute import RayCompute

        found = RayCompute
    if not issubclass(found, asked):
        raise ComputeTargetException(
            "The compute target '{}' is of type {}, not {}. ComputeTarget(workspace, '{}') opens it.".format(
                record.spec.name, found.__name__, asked.__name__, record.spec.name
            )
        )
    return found


def _fetch(workspace: "Workspace", name: str) -> ComputeRecord:
    check_compute_name(name)
    return from_json(ComputeRecord, workspace.transport.call("GET", url_path("computes", name)))


def _text(at: float) -> str:
    return moment(at).isoformat()


def _say_nothing(_: Any) -> None:
    pass
