"""Compute targets on a Ray cluster: which one it is, what a run asks of its nodes, and how they are opened."""

from dataclasses import replace
from typing import Any, Dict, Optional

from runyard import ray_cluster_file
from runyard.compute import AmlCompute
from runyard.compute_configuration import AmlComputeProvisioningConfiguration, EngineConfiguration, seconds, whole
from runyard.errors import ComputeTargetException
from runyard.protocol.compute import ComputeSpec, RaySpec

__all__ = ["RayAttachConfiguration", "RayCompute", "RayProvisioningConfiguration"]


class RayAttachConfiguration(EngineConfiguration):
    """What ``ComputeTarget.attach`` is to attach; see ``RayCompute.attach_configuration``."""

    ENGINE = "ray"
    KIND = "Ray"

    def __init__(
        self,
        ray: RaySpec,
        max_nodes: Optional[int] = None,
        vm_size: str = "",
        tags: Optional[Dict[str, str]] = None,
        description: Optional[str] = None,
    ) -> None:
        super().__init__(max_nodes, vm_size, tags, description)
        self.ray = ray

    def validate_configuration(self) -> None:
        super().validate_configuration()
        if not isinstance(self.ray.address, str) or not self.ray.address.strip():
            raise ComputeTargetException(
                "address is that of the Ray cluster's dashboard, such as 'http://head:8265'; this is {!r}.".format(
                    self.ray.address
                )
            )
        for name in ("cpus_per_node", "gpus_per_node", "memory_mb", "max_jobs"):
            whole(name, getattr(self.ray, name))
        for name, amount in self.ray.resources.items():
            if isinstance(amount, bool) or not isinstance(amount, (int, float)):
                raise ComputeTargetException("resources are numbers by name; this is {}={!r}.".format(name, amount))

    def to_spec(self, name: str) -> ComputeSpec:
        return replace(super().to_spec(name), ray=self.ray)


class RayProvisioningConfiguration(RayAttachConfiguration):
    """A cluster that is started first; see ``RayCompute.provisioning_configuration``."""

    def __init__(self, cluster_file: str, node_type: Optional[str], machine: str, min_nodes: int, **given: Any) -> None:
        self._idle_seconds = given.pop("idle_seconds")
        super().__init__(**given)
        self.min_nodes = min_nodes
        self._cluster_file = cluster_file
        self._node_type = node_type
        self._machine = machine

    def validate_configuration(self) -> None:
        AmlComputeProvisioningConfiguration.validate_configuration(self)
        seconds(self._idle_seconds)

    def prepare(self) -> None:
        """Writes the cluster's file and starts the cluster."""
        self.ray = replace(self.ray, address=ray_cluster_file.start(self.write()))
        super().validate_configuration()

    def write(self) -> str:
        """Writes the file that ``ray up`` gets; its path. Nothing is started."""
        assert self.max_nodes is not None
        is_azures = bool(self.vm_size) and not self._machine
        asked = {"CPU": self.ray.cpus_per_node, "GPU": self.ray.gpus_per_node}
        told = {name: amount for name, amount in dict(self.ray.resources, **asked).items() if amount}
        return ray_cluster_file.write(
            self._cluster_file,
            min_nodes=self.min_nodes,
            max_nodes=self.max_nodes,
            idle_seconds=self._idle_seconds,
            machine=self.vm_size if is_azures else self._machine,
            resources=told or None,
            node_type=self._node_type,
        )


class RayCompute(AmlCompute):
    """Nodes of a Ray cluster. It has what an AmlCompute has; Ray decides when a run gets its nodes."""

    KIND = RayAttachConfiguration.KIND

    @staticmethod
    def attach_configuration(
        address: str,
        token: Optional[str] = None,
        max_nodes: Optional[int] = None,
        vm_size: str = "",
        cpus_per_node: int = 0,
        gpus_per_node: int = 0,
        memory_mb: int = 0,
        resources: Optional[Dict[str, float]] = None,
        python: str = "python",
        max_jobs: int = 20,
        scratch: str = "",
        uv: str = "",
        tags: Optional[Dict[str, str]] = None,
        description: Optional[str] = None,
    ) -> "RayAttachConfiguration":
        """A cluster that runs already. All of it is checked against the cluster when the target is attached.

        Args:
            address: of its dashboard, "http://head:8265".
            token: the cluster's, where it is in token mode. The workspace's server keeps it; it is never shown again.
            max_nodes: the most that one run may ask for; by default as many as the cluster has. A cluster with an
                autoscaler may be asked for more than are here.
            vm_size: an Azure name for what a run gets of each node; or, in numbers, ``cpus_per_node``,
                ``gpus_per_node`` and ``memory_mb``. By default one CPU.
            resources: further ones, by the cluster's own names: {"fast-disk": 1}.
            python: the command that is the cluster's own Python on its nodes.
            max_jobs: runs that are with Ray at a time; further ones wait in the workspace for their turn.
            scratch: a folder on each node's own disk ("/scratch/$USER"; its variables are the node's), for nodes that do
                not see the server's folder: they fetch code and data into it, and build environments there.
            uv: the program that builds environments on such nodes; by default the one on PATH, else the server's own.
        Raises:
            ComputeTargetException: an address or a number that is none.
        """
        ray = RaySpec(
            address=address,
            token=token,
            cpus_per_node=cpus_per_node,
            gpus_per_node=gpus_per_node,
            memory_mb=memory_mb,
            resources=dict(resources or {}),
            python=python,
            max_jobs=max_jobs,
            scratch=scratch,
            uv=uv,
        )
        configuration = RayAttachConfiguration(ray, max_nodes, vm_size, tags, description)
        configuration.validate_configuration()
        return configuration

    @staticmethod
    def provisioning_configuration(  # type: ignore[override]  # Ray's words beside Azure's
        cluster_file: str,
        max_nodes: int,
        min_nodes: int = 0,
        idle_seconds_before_scaledown: Optional[int] = 1800,
        vm_size: str = "",
        machine: str = "",
        node_type: Optional[str] = None,
        token: Optional[str] = None,
        cpus_per_node: int = 0,
        gpus_per_node: int = 0,
        resources: Optional[Dict[str, float]] = None,
        python: str = "python",
        max_jobs: int = 20,
        tags: Optional[Dict[str, str]] = None,
        description: Optional[str] = None,
    ) -> "RayProvisioningConfiguration":
        """A cluster that ``ray up`` starts, from a file of yours with these sizes in it.

        ``ComputeTarget.create`` writes ``<file>.runyard.yaml`` beside it, runs ``ray up`` on this machine, which takes
        minutes, and attaches the cluster. Called again with other sizes it changes the cluster that runs.

        Args:
            cluster_file: your Ray cluster file (YAML).
            min_nodes, max_nodes, idle_seconds_before_scaledown: go into the file; Ray's autoscaler keeps to them.
            vm_size: the machine, where the file's provider is azure; elsewhere ``machine`` is the cloud's own name.
            node_type: which of the file's node types is meant; the only one beside the head's by default.
            others: as of ``attach_configuration``.
        Raises:
            ComputeTargetException: numbers that do not fit together.
        """
        ray = RaySpec(
            address="",
            token=token,
            cpus_per_node=cpus_per_node,
            gpus_per_node=gpus_per_node,
            resources=dict(resources or {}),
            python=python,
            max_jobs=max_jobs,
        )
        configuration = RayProvisioningConfiguration(
            cluster_file,
            node_type,
            machine,
            min_nodes,
            ray=ray,
            max_nodes=max_nodes,
            vm_size=vm_size,
            tags=tags,
            description=description,
            idle_seconds=idle_seconds_before_scaledown,
        )
        configuration.validate_configuration()
        return configuration

    @property
    def ray(self) -> RaySpec:
        """Which cluster it is and what is asked of it, without its token."""
        spec = self._record.spec.ray
        assert spec is not None
        return spec

    @property
    def is_attached(self) -> bool:
        return True

    def detach(self) -> None:
        """Forgets the cluster, which goes on.

        Raises:
            ComputeTargetException: unfinished runs use it.
        """
        self.delete()

    def _properties(self) -> Dict[str, Any]:
        from runyard.protocol.codec import to_json

        shown = {name: value for name, value in to_json(self.ray).items() if name != "token"}
        return dict(super()._properties(), ray=shown)
