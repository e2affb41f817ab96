"""Compute targets on a Slurm cluster: what they ask of Slurm, and how they are opened."""

import re
from dataclasses import replace
from typing import Any, Dict, List, Optional, Union

from runyard.compute import AmlCompute
from runyard.compute_configuration import EngineConfiguration, whole
from runyard.errors import ComputeTargetException
from runyard.protocol.compute import ComputeSpec, SlurmSpec

__all__ = ["SlurmCompute", "SlurmProvisioningConfiguration"]

_TIME = re.compile(r"^(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?$")


class SlurmProvisioningConfiguration(EngineConfiguration):
    """What ``ComputeTarget.create`` is to make; see ``SlurmCompute.provisioning_configuration``."""

    ENGINE = "slurm"
    KIND = "Slurm"

    def __init__(
        self,
        slurm: SlurmSpec,
        max_nodes: Optional[int] = None,
        vm_size: str = "",
        tags: Optional[Dict[str, str]] = None,
        description: Optional[str] = None,
    ) -> None:
        super().__init__(max_nodes, vm_size, tags, description)
        self.slurm = slurm

    def validate_configuration(self) -> None:
        super().validate_configuration()
        for name in ("cpus_per_node", "memory_mb", "max_jobs"):
            whole(name, getattr(self.slurm, name))

    def to_spec(self, name: str) -> ComputeSpec:
        return replace(super().to_spec(name), slurm=self.slurm)


class SlurmCompute(AmlCompute):
    """Nodes that Slurm gives. It has what an AmlCompute has; Slurm decides when a run gets its nodes."""

    KIND = SlurmProvisioningConfiguration.KIND

    @staticmethod
    def provisioning_configuration(  # type: ignore[override]  # Slurm's words instead of Azure's
        partition: Optional[str] = None,
        account: Optional[str] = None,
        qos: Optional[str] = None,
        constraint: Optional[str] = None,
        reservation: Optional[str] = None,
        gres: Optional[str] = None,
        time_limit: Union[None, int, str] = None,
        max_nodes: Optional[int] = None,
        cpus_per_node: int = 0,
        memory_mb: int = 0,
        exclusive: bool = False,
        vm_size: str = "",
        python: str = "python3",
        setup: Optional[List[str]] = None,
        options: Optional[List[str]] = None,
        max_jobs: int = 100,
        scratch: str = "",
        uv: str = "",
        tags: Optional[Dict[str, str]] = None,
        description: Optional[str] = None,
    ) -> "SlurmProvisioningConfiguration":
        """What to create. All of it is checked against the cluster when the target is created.

        Args:
            partition, account, qos, constraint, reservation: as ``sbatch`` takes them; Slurm's defaults if None.
            gres: what each node must have: "gpu:a100:4" says that a node of this target has four such GPUs, of which a
                run gets as many as it asks for.
            time_limit: minutes, or Slurm's "days-hours:minutes:seconds", after which Slurm ends a run.
            max_nodes: the most that one run may ask for; by default as many as the partition has.
            cpus_per_node, memory_mb: what a run gets of each node; by default what ``vm_size`` says, else what the
                partition gives. ``exclusive``: the whole node.
            python: the program that starts the job on a node, Python 3.7 or later.
            setup: lines of shell that each run's script begins with, for instance "module load cuda".
            options: further options of ``sbatch``, for instance "--nice=10".
            max_jobs: jobs that are with Slurm at a time; further runs wait in the workspace for their turn.
            scratch: a folder on each node's own disk ("/scratch/$USER"; its variables are the node's), for nodes that do
                not see the server's folder: they fetch code and data into it, and build environments there.
            uv: the program that builds environments on such nodes; by default the one on PATH, else the server's own.
        Raises:
            ComputeTargetException: a number or a time is none.
        """
        slurm = SlurmSpec(
            partition=partition,
            account=account,
            qos=qos,
            constraint=constraint,
            reservation=reservation,
            gres=gres,
            time_limit_min=minutes(time_limit),
            cpus_per_node=cpus_per_node,
            memory_mb=memory_mb,
            exclusive=bool(exclusive),
            python=python,
            setup=list(setup or []),
            options=list(options or []),
            max_jobs=max_jobs,
            scratch=scratch,
            uv=uv,
        )
        configuration = SlurmProvisioningConfiguration(slurm, max_nodes, vm_size, tags, description)
        configuration.validate_configuration()
        return configuration

    @property
    def slurm(self) -> SlurmSpec:
        """What is asked of Slurm."""
        return self._record.spec.slurm or SlurmSpec()

    def _properties(self) -> Dict[str, Any]:
        from runyard.protocol.codec import to_json

        return dict(super()._properties(), slurm=to_json(self.slurm))


def minutes(time_limit: Union[None, int, str]) -> Optional[int]:
    """A time limit as ``sbatch --time`` takes it, in minutes.

    Raises:
        ComputeTargetException: it is none.
    """
    if time_limit is None:
        return None
    if isinstance(time_limit, int) and not isinstance(time_limit, bool):
        found = time_limit
    else:
        parts = _TIME.match(str(time_limit))
        if parts is None:
            raise ComputeTargetException(
                "time_limit is a number of minutes or Slurm's 'days-hours:minutes:seconds'; this is {!r}.".format(
                    time_limit
                )
            )
        days, first, second, third = (None if part is None else int(part) for part in parts.groups())
        assert first is not None
        if days is not None:  # days-hours:minutes:seconds
            seconds = ((days * 24 + first) * 60 + (second or 0)) * 60 + (third or 0)
        elif third is not None:  # hours:minutes:seconds
            seconds = (first * 60 + (second or 0)) * 60 + third
        else:  # minutes:seconds
            seconds = first * 60 + (second or 0)
        found = -(-seconds // 60)
    if found < 1:
        raise ComputeTargetException("time_limit is a minute or more; this is {!r}.".format(time_limit))
    return found
