"""What a cluster does now, with Azure ML's attribute names and JSON keys."""

import datetime
from typing import Any, Dict, List, Optional

from runyard.protocol.compute import ComputeRecord, ComputeSpec


class ScaleSettings:
    """How many nodes a cluster has, and how long an idle one stays."""

    def __init__(
        self, minimum_node_count: int, maximum_node_count: int, idle_seconds_before_scaledown: Optional[int]
    ) -> None:
        self.minimum_node_count = minimum_node_count
        self.maximum_node_count = maximum_node_count
        self.idle_seconds_before_scaledown = idle_seconds_before_scaledown

    @classmethod
    def of(cls, spec: ComputeSpec) -> "ScaleSettings":
        return cls(spec.min_nodes, spec.max_nodes, spec.idle_seconds_before_scaledown)

    def serialize(self) -> Dict[str, Any]:
        """Azure's keys; the idle time as an ISO 8601 duration."""
        idle = self.idle_seconds_before_scaledown
        return {
            "minNodeCount": self.minimum_node_count,
            "maxNodeCount": self.maximum_node_count,
            "nodeIdleTimeBeforeScaleDown": "" if idle is None else "PT{}S".format(idle),
        }


class AmlComputeNodeStateCounts:
    """How many nodes are in which state."""

    def __init__(
        self,
        idle_node_count: int = 0,
        leaving_node_count: int = 0,
        preempted_node_count: int = 0,
        preparing_node_count: int = 0,
        running_node_count: int = 0,
        unusable_node_count: int = 0,
    ) -> None:
        self.idle_node_count = idle_node_count
        self.leaving_node_count = leaving_node_count
        self.preempted_node_count = preempted_node_count
        self.preparing_node_count = preparing_node_count
        self.running_node_count = running_node_count
        self.unusable_node_count = unusable_node_count

    def serialize(self) -> Dict[str, int]:
        """Azure's keys, in Azure's order."""
        return {
            "preparingNodeCount": self.preparing_node_count,
            "runningNodeCount": self.running_node_count,
            "idleNodeCount": self.idle_node_count,
            "unusableNodeCount": self.unusable_node_count,
            "leavingNodeCount": self.leaving_node_count,
            "preemptedNodeCount": self.preempted_node_count,
        }


class AmlComputeStatus:
    """What a cluster does now. Times are aware datetimes in UTC; ``errors`` None or a list of texts."""

    def __init__(
        self,
        allocation_state: str,
        allocation_state_transition_time: datetime.datetime,
        creation_time: datetime.datetime,
        current_node_count: int,
        errors: Optional[List[str]],
        modified_time: datetime.datetime,
        node_state_counts: AmlComputeNodeStateCounts,
        provisioning_state: str,
        provisioning_state_transition_time: datetime.datetime,
        scale_settings: ScaleSettings,
        target_node_count: int,
        vm_priority: str,
        vm_size: str,
    ) -> None:
        self.allocation_state = allocation_state
        self.allocation_state_transition_time = allocation_state_transition_time
        self.creation_time = creation_time
        self.current_node_count = current_node_count
        self.errors = errors
        self.modified_time = modified_time
        self.node_state_counts = node_state_counts
        self.provisioning_state = provisioning_state
        self.provisioning_state_transition_time = provisioning_state_transition_time
        self.scale_settings = scale_settings
        self.target_node_count = target_node_count
        self.vm_priority = vm_priority
        self.vm_size = vm_size

    @classmethod
    def of(cls, record: ComputeRecord) -> "AmlComputeStatus":
        spec = record.spec
        current = record.nodes_running + record.nodes_idle
        target = current + record.nodes_preparing
        return cls(
            allocation_state="Resizing" if record.nodes_preparing else "Steady",
            allocation_state_transition_time=moment(record.state_changed_at),
            creation_time=moment(record.created_at),
            current_node_count=current,
            errors=list(record.errors) or None,
            modified_time=moment(record.modified_at),
            node_state_counts=AmlComputeNodeStateCounts(
                idle_node_count=record.nodes_idle,
                leaving_node_count=record.nodes_leaving,
                preparing_node_count=record.nodes_preparing,
                running_node_count=record.nodes_running,
                unusable_node_count=record.nodes_unusable,
            ),
            provisioning_state=record.provisioning_state,
            provisioning_state_transition_time=moment(record.state_changed_at),
            scale_settings=ScaleSettings.of(spec),
            target_node_count=target,
            vm_priority={"dedicated": "Dedicated", "lowpriority": "LowPriority"}.get(
                spec.vm_priority, spec.vm_priority
            ),
            vm_size=spec.vm_size,
        )

    def serialize(self) -> Dict[str, Any]:
        """Azure's keys, in Azure's order; times as ISO 8601 text."""
        return {
            "currentNodeCount": self.current_node_count,
            "targetNodeCount": self.target_node_count,
            "nodeStateCounts": self.node_state_counts.serialize(),
            "allocationState": self.allocation_state,
            "allocationStateTransitionTime": self.allocation_state_transition_time.isoformat(),
            "errors": self.errors,
            "creationTime": self.creation_time.isoformat(),
            "modifiedTime": self.modified_time.isoformat(),
            "provisioningState": self.provisioning_state,
            "provisioningStateTransitionTime": self.provisioning_state_transition_time.isoformat(),
            "scaleSettings": self.scale_settings.serialize(),
            "vmPriority": self.vm_priority,
            "vmSize": self.vm_size,
        }


def moment(at: float) -> datetime.datetime:
    """Seconds since the epoch as an aware datetime in UTC."""
    return datetime.datetime.fromtimestamp(at, datetime.timezone.utc)
