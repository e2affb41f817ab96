"""What a workspace refuses before a run begins, each with what is possible instead."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from runyard.errors import ComputeTargetException, SnapshotException, UserErrorException
from runyard.names import check_data_reference_name, check_dataset_name
from runyard.notebook_parameters import is_notebook
from runyard.protocol.compute import ComputeRecord
from runyard.protocol.environments import EnvironmentSpec
from runyard.protocol.files import Manifest
from runyard.protocol.runs import ASKED_FOR, LOSSES, DataReferenceSpec, RunSpec
from runyard_server.domain.paths import relative
from runyard_server.domain.placement import asked_per_node, grant, grant_of_nodes
from runyard_server.executors.base import Ability, EngineAwayError, Executor

DEEPEST = 100
MOST_ATTEMPTS = 100


class Places(Protocol):
    """What admission must know of the workspace."""

    def compute(self, name: str) -> ComputeRecord: ...

    def snapshot(self, snapshot_id: str) -> Manifest: ...

    def environment(self, spec: EnvironmentSpec) -> EnvironmentSpec: ...

    def check_environment(self, spec: EnvironmentSpec, elsewhere: bool) -> None: ...

    def check_datastore(self, name: str) -> None: ...

    def check_run(self, run_id: str) -> None: ...

    def holds(self, reference: DataReferenceSpec) -> bool: ...


@dataclass(frozen=True)
class Admitted:
    """A spec that may run, with what this workspace makes of it, and what to tell about that.

    ``script``: of a dry run, what its engine would get.
    """

    spec: RunSpec
    warnings: list[str]
    script: str = ""


class AdmissionService:
    """Checks specs. Asked at submission, and again in Starting."""

    def __init__(self, places: Places, executors: Mapping[str, Executor], gpu_count: Callable[[], int]) -> None:
        self._places = places
        self._executors = executors
        self._gpu_count = gpu_count

    def check(self, spec: RunSpec, waits: bool = True) -> Admitted:
        """The run as it may go ahead.

        Args:
            waits: whether an engine may be waited for that is asked what its nodes have.
        Raises:
            UserErrorException: it may not; its subclass and message say what was wrong, what is
                allowed and what to do.
        """
        _check_kept(spec)
        target = self._places.compute(spec.target)
        executor = self._executors[target.executor]
        self._check_shape(spec, target, executor)
        self._check_code(spec)
        for reference in spec.data_references:
            check_data_reference_name(reference.name)
            if reference.run is None:
                self._places.check_datastore(reference.datastore)
            else:
                self._places.check_run(reference.run)
                if reference.mode != "download":
                    raise UserErrorException(
                        f"The files of the run {reference.run!r} can be downloaded; they have no {reference.mode!r}."
                    )
            if reference.path:
                relative(reference.path, "path of a data reference")
        for output in spec.output_datasets:
            check_dataset_name(output.name)
            self._places.check_datastore(output.datastore)
            if output.path:
                relative(output.path, "path of an output dataset")
        gpus, warnings = self._grant_gpus(spec, target, executor, waits)
        is_less = bool(warnings) and Ability.GPUS not in executor.abilities  # the engine would refuse what is asked
        spec = replace(spec, gpus_granted=gpus if is_less else None)
        # A framework's GPU build is gigabytes that a node without GPU has no use for.
        use_gpu = spec.environment.use_gpu and gpus > 0
        environment = replace(
            self._places.environment(spec.environment),
            use_gpu=use_gpu,
            mpi=spec.distribution.kind == "mpi",
            notebook=is_notebook(spec.script),
        )
        if target.spec.scratch:
            warnings = [*warnings, *_check_own_disks(spec, environment, target, self._places.holds)]
        if spec.environment_key is None:
            self._places.check_environment(environment, Ability.ONE_HOST not in executor.abilities)
        return Admitted(replace(spec, environment=environment), warnings)

    def _check_shape(self, spec: RunSpec, target: ComputeRecord, executor: Executor) -> None:
        name = target.spec.name
        if spec.node_count < 1:
            raise UserErrorException(f"A run needs at least 1 node; this one asks for {spec.node_count}.")
        if spec.node_count > target.spec.max_nodes:
            raise ComputeTargetException(
                f"The run asks for {spec.node_count} nodes of {name!r}, which has at most {target.spec.max_nodes}. "
                f"Ask for fewer, or raise it: ComputeTarget(ws, {name!r}).update(max_nodes={spec.node_count})."
            )
        if spec.node_count > 1 and Ability.MULTI_NODE not in executor.abilities:
            raise ComputeTargetException(f"The executor {target.executor!r} of {name!r} runs on one node at a time.")
        distribution = spec.distribution
        if distribution.kind == "tensorflow" and distribution.parameter_server_count + distribution.worker_count < 1:
            raise UserErrorException("A run needs at least 1 worker; this one asks for none.")

    def _check_code(self, spec: RunSpec) -> None:
        files = {entry.path for entry in self._places.snapshot(spec.snapshot).files}
        if spec.script is not None and spec.script not in files:
            scripts = sorted(path for path in files if path.endswith(".py"))[:10]
            raise SnapshotException(
                f"The entry script {spec.script!r} is not in the source directory. "
                f"It has: {', '.join(scripts) or 'no .py file'}."
            )
        if spec.script is None and not spec.command:
            raise UserErrorException("A run needs a script or a command.")

    def _grant_gpus(
        self, spec: RunSpec, target: ComputeRecord, executor: Executor, waits: bool
    ) -> tuple[int, list[str]]:
        """GPUs that each node will have, and what to tell of the difference to what was asked."""
        asked = asked_per_node(spec.gpus_per_node, target.gpus_per_node)
        if not asked:
            return 0, []
        if Ability.GPUS in executor.abilities:
            granted = grant(asked, spec.node_count, self._gpu_count())
        else:
            granted = grant_of_nodes(asked, _most_gpus(target, executor, waits), target.spec.name)
        if granted.warning and target.spec.strict:
            raise ComputeTargetException(
                f"{granted.warning.split(':')[0]}, and {target.spec.name!r} is strict: it never runs with less than was "
                f"asked. Submit with use_gpu=False, or make the target without strict."
            )
        return granted.per_node, [granted.warning] if granted.warning else []


def _most_gpus(target: ComputeRecord, executor: Executor, waits: bool) -> int | None:
    try:
        return executor.most_gpus(target.spec, waits)
    except EngineAwayError:
        return None  # it says itself what it does not have, once it is back


def _check_own_disks(
    spec: RunSpec, environment: EnvironmentSpec, target: ComputeRecord, holds: Callable[[DataReferenceSpec], bool]
) -> list[str]:
    """What nodes that do not see the server's folder make of a run, as warnings; raises for what they cannot do."""
    why = f"The nodes of {target.spec.name!r} do not see the server's folder (scratch={target.spec.scratch!r})"
    if environment.conda_solver == "always":
        raise ComputeTargetException(
            f"{why}, and build environments of pip's packages alone. Leave conda_solver='always' out, or take another "
            "target."
        )
    outputs = {output.path for output in spec.output_datasets}
    warnings = []
    for reference in spec.data_references:
        if reference.mode != "mount":
            continue
        if reference.path in outputs or not holds(reference):  # an empty place is one to write to
            raise ComputeTargetException(
                f"{why}, so that what is written to the mounted {reference.name!r} would stay there. Have it "
                "uploaded instead: as_upload()."
            )
        warnings.append(
            f"{why}: {reference.name!r} is downloaded to them, not mounted. What the script writes there stays there; "
            "as_upload() brings it back."
        )
    return warnings


def _check_kept(spec: RunSpec) -> None:
    """Raises UserErrorException for what could be read once and then never be written or read again."""
    if not -(1 << 31) <= spec.priority < 1 << 31:
        raise UserErrorException(f"A priority is a number of 32 bits, not {str(spec.priority)[:30]}.")
    if not 1 <= spec.retry.max_attempts <= MOST_ATTEMPTS:
        raise UserErrorException(f"A run has 1 to {MOST_ATTEMPTS} attempts, not {str(spec.retry.max_attempts)[:30]}.")
    unknown = set(spec.retry.causes).difference(ASKED_FOR)
    if unknown:
        raise UserErrorException(
            f"A run is not tried again after {min(unknown)[:100]!r}. It is after {', '.join(LOSSES)}; and where it is "
            f"asked for, after {', '.join(ASKED_FOR)}."
        )
    waiting: list[tuple[Any, int]] = [(spec.run_config, 1)]
    while waiting:
        value, depth = waiting.pop()
        if depth > DEEPEST:
            raise UserErrorException(f"A run configuration has at most {DEEPEST} brackets in each other.")
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        waiting += [(item, depth + 1) for item in inner]
