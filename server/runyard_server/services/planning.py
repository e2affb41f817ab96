"""What an executor would do with a run that nobody has submitted: shown by a dry run."""

from collections.abc import Callable, Mapping

from runyard.protocol.compute import ComputeRecord
from runyard.protocol.runs import RunRecord, RunSpec
from runyard.protocol.status import RunStatus
from runyard_server.domain.placement import asked_of_engine
from runyard_server.executors.base import Executor, JobRequest
from runyard_server.services.assignments import AssignmentService

RUN_ID = "RUN"  # stands for the id that the run would get


class PlanningService:
    """Plans without a run.

    Args:
        compute: a compute target as it was asked for.
    """

    def __init__(
        self,
        executors: Mapping[str, Executor],
        compute: Callable[[str], ComputeRecord],
        assignments: AssignmentService,
    ) -> None:
        self._executors = executors
        self._compute = compute
        self._assignments = assignments

    def script(self, spec: RunSpec) -> str:
        """The script that the run's engine would get; "" for an engine that takes none."""
        target = self._compute(spec.target)
        run = RunRecord(RUN_ID, 0, spec.experiment, "", RunStatus.NOT_STARTED, 0.0, 0, target=spec.target, spec=spec)
        gpus = asked_of_engine(spec, target.gpus_per_node)
        sketch = self._assignments.sketch(run)
        invited = self._assignments.invitations(sketch, target.spec, with_tickets=False)
        driver = self._assignments.driver_invitation(sketch, target.spec, with_tickets=False)
        request = JobRequest(
            RUN_ID, 1, sketch, target=target.spec, gpus_per_node=gpus, invitations=invited, driver_invitation=driver
        )
        return self._executors[target.executor].plan(request).script
