"""Compute targets: named clusters, what they are asked to be and what they do now."""

import builtins
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from runyard.errors import ComputeTargetException, UnknownComputeError
from runyard.names import check_compute_name
from runyard.protocol.compute import ComputeChanges, ComputeNode, ComputeRecord, ComputeSpec, VmSizeRecord
from runyard_server.domain.clock import Clock
from runyard_server.domain.gres import gpus_of
from runyard_server.domain.placement import Target, grant
from runyard_server.domain.vm_sizes import VM_SIZES, vm_size
from runyard_server.executors.base import EngineAwayError, NodeCounts
from runyard_server.records import computes as records
from runyard_server.records.engine import Database

LOCAL = "local"
SUCCEEDED = "Succeeded"
_PRIORITIES = ("dedicated", "lowpriority")
_TYPES = {"slurm": "Slurm", "ray": "Ray"}  # the class that a target is opened as, by executor


class KnownTargets:
    """Targets that were read already. Every submission asks for one, and only this server writes them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[str, ComputeRecord] = {}
        self._writes = 0

    def get(self, name: str, read: Callable[[str], ComputeRecord | None]) -> ComputeRecord | None:
        """The target of that name, by ``read`` where it is not known."""
        with self._lock:
            found, before = self._records.get(name), self._writes
        if found is None:
            found = read(name)
            with self._lock:
                if found is not None and self._writes == before:  # else it was changed while it was read
                    self._records[name] = found
        return found

    def forget(self) -> None:
        """Something was written."""
        with self._lock:
            self._writes += 1
            self._records.clear()


class ComputeService:
    """What may be asked of compute targets.

    ``local`` is always there: this machine, with one node at a time for each CPU that the server
    may use. The others are rows.

    Args:
        executors: names of the executors that this server has.
        gpu_count: number of GPUs on this host, asked only where it matters.
        cpus: CPUs that the server may use.
        default_executor: who provides the nodes of a target that names no executor.
        check: a target as its executor can have it, or why it cannot.
        count: a target's nodes as its executor counts them; None where those that runs hold are all.
        out_of_reach: why nodes on other machines cannot reach this server; "" where they can.
        changed: called when room may have been made, so that the queue is looked at again.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        executors: Collection[str],
        gpu_count: Callable[[], int],
        cpus: int,
        default_executor: str = LOCAL,
        changed: Callable[[], None] = lambda: None,
        check: Callable[[str, ComputeSpec], ComputeSpec] = lambda executor, spec: spec,
        count: Callable[[str, ComputeSpec], NodeCounts | None] = lambda executor, spec: None,
        out_of_reach: str = "",
    ) -> None:
        self._database = database
        self._clock = clock
        self._executors = executors
        self._gpu_count = gpu_count
        self._default_executor = default_executor
        self._changed = changed
        self._check = check
        self._count = count
        self._out_of_reach = out_of_reach
        self._known = KnownTargets()
        now = clock.now()
        spec = ComputeSpec(name=LOCAL, max_nodes=cpus, executor=LOCAL, type="Local", description="This machine.")
        self._local = ComputeRecord(spec, LOCAL, SUCCEEDED, now, now, now)

    def create(self, spec: ComputeSpec) -> ComputeRecord:
        """The target of that name: a new one, or the present one with its sizes set to the spec's.

        Nodes, idle time, tags and description of a present one are set; its kind of node stays.

        Raises:
            ComputeTargetException: the spec is impossible, or the name has nodes of another kind.
        """
        executor = spec.executor or self._default_executor
        spec = self._checked(spec, executor)
        now = self._clock.now()
        with self._database.write() as connection:
            stored = records.add(connection, ComputeRecord(spec, executor, SUCCEEDED, now, now, now))
            if stored.spec != spec:
                _refuse_other_kind(stored, spec, executor)
                records.change(connection, spec, now)
        self._known.forget()
        self._changed()
        return self.get(spec.name)

    def get(self, name: str) -> ComputeRecord:
        """The target with what it does now.

        Raises:
            UnknownComputeError: there is none of that name.
        """
        with self._database.read() as connection:
            stored, busy = self._stored(connection, name), records.busy_nodes(connection)
        return self._seen(stored, busy)  # its engine is asked, which may take a while

    def asked(self, name: str) -> ComputeRecord:
        """The target as it was asked for, without what it does now: asked at every submission.

        Raises:
            UnknownComputeError: there is none of that name.
        """
        record = self._looked_up(name)
        if record is None:
            raise self._unknown(name)
        return replace(record, gpus_per_node=_gpus_of(record))

    def list(self) -> Sequence[ComputeRecord]:
        """Every target with what it does now: ``local`` first, the others by name."""
        with self._database.read() as connection:
            stored = [self._local, *records.list_all(connection)]
            busy = records.busy_nodes(connection)
        return [self._seen(record, busy) for record in stored]

    def update(self, name: str, changes: ComputeChanges) -> ComputeRecord:
        """Sets nodes and idle time. Runs that hold nodes keep them when there are fewer.

        Raises:
            UnknownComputeError: there is none of that name.
            ComputeTargetException: numbers that do not fit together, or ``local``.
        """
        _refuse_local(name, "changed")
        given = {field: value for field, value in vars(changes).items() if value is not None}
        present = self.asked(name)
        self._checked_by_engine(replace(present.spec, **given), present.executor)
        with self._database.write() as connection:
            spec = replace(self._stored(connection, name).spec, **given)
            _check_nodes(spec)
            records.change(connection, spec, self._clock.now())
        self._known.forget()
        self._changed()
        return self.get(name)

    def delete(self, name: str) -> None:
        """Removes a target that no unfinished run uses.

        Raises:
            UnknownComputeError: there is none of that name.
            ComputeTargetException: runs use it, or it is ``local``.
        """
        _refuse_local(name, "deleted")
        with self._database.write() as connection:
            self._stored(connection, name)
            users = records.unfinished_runs(connection, name)
            if users:
                shown = ", ".join(users[:5]) + (f" and {len(users) - 5} more" if len(users) > 5 else "")
                raise ComputeTargetException(
                    f"The compute target {name!r} is used by {len(users)} unfinished run(s): {shown}. "
                    "Wait for them or cancel them (`runyard run cancel RUN`), then delete it."
                )
            records.remove(connection, name)
        self._known.forget()

    def nodes(self, name: str) -> Sequence[ComputeNode]:
        """The nodes that are in use, with the run of each."""
        with self._database.read() as connection:
            self._stored(connection, name)
            used = records.nodes_of(connection, name)
        return [ComputeNode(f"{name}-{number}", "running", use.run_id, [*use.gpus]) for number, use in enumerate(used)]

    def sizes(self) -> Sequence[VmSizeRecord]:
        """Every size that ``vm_size`` takes."""
        return [VmSizeRecord(*size) for size in VM_SIZES.values()]

    def room(self, name: str) -> tuple[Target, str] | None:
        """A target's room for placement and its executor's name; None where there is no such target."""
        record = self._looked_up(name)
        if record is None:
            return None
        spec = record.spec
        options = spec.slurm or spec.ray
        max_jobs = options.max_jobs if options is not None else None
        return Target(name, spec.max_nodes, record.executor == LOCAL, _gpus_of(record), max_jobs), record.executor

    def _looked_up(self, name: str) -> ComputeRecord | None:
        """A target as it is stored, read from the database once."""
        if name == LOCAL:
            return self._local
        return self._known.get(name, self._read)

    def _read(self, name: str) -> ComputeRecord | None:
        with self._database.read() as connection:
            return records.get(connection, name)

    def _stored(self, connection: Connection, name: str) -> ComputeRecord:
        found = self._local if name == LOCAL else records.get(connection, name)
        if found is None:
            raise self._unknown(name)
        return found

    def _unknown(self, name: str) -> UnknownComputeError:
        with self._database.read() as connection:
            names = [LOCAL, *(record.spec.name for record in records.list_all(connection))]
        return UnknownComputeError(
            f"There is no compute target {name!r}. This workspace has: {', '.join(names)}. "
            "ComputeTarget.create(workspace, name, configuration) makes one."
        )

    def _seen(self, record: ComputeRecord, busy: Mapping[str, int]) -> ComputeRecord:
        spec = record.spec
        running = busy.get(spec.name, 0)
        gpus = _gpus_of(record)
        if record.executor != LOCAL:
            return self._seen_by_engine(record, running)
        idle = 0 if spec.name == LOCAL else max(0, spec.min_nodes - running)
        return replace(
            record,
            nodes_running=running,
            nodes_idle=idle,
            nodes_ready=spec.max_nodes,
            gpus_per_node=gpus,
            warnings=self._gpu_warnings(record, gpus),
        )

    def _seen_by_engine(self, record: ComputeRecord, running: int) -> ComputeRecord:
        """A target whose engine knows more of its nodes than that runs hold them."""
        errors: builtins.list[str] = []
        counts = None
        try:
            counts = self._count(record.executor, record.spec)
        except EngineAwayError as away:
            errors.append(str(away))
        if counts is None:
            idle = max(0, record.spec.min_nodes - running)
            counts = NodeCounts(running=running, idle=idle)
        return replace(
            record,
            nodes_running=counts.running,
            nodes_idle=counts.idle,
            nodes_preparing=counts.preparing,
            nodes_leaving=counts.leaving,
            nodes_unusable=counts.unusable,
            nodes_ready=counts.running + counts.idle,
            gpus_per_node=_gpus_of(record),
            warnings=[self._out_of_reach] if self._out_of_reach else [],
            errors=errors,
        )

    def _gpu_warnings(self, record: ComputeRecord, gpus: int) -> builtins.list[str]:
        if not gpus or record.executor != LOCAL:
            return []
        here = self._gpu_count()
        if grant(gpus, 1, here).per_node == gpus:
            return []
        has = "no GPU" if here == 0 else f"only {here}"
        then = "a run that asks for them is refused (strict)" if record.spec.strict else "runs go with what is here"
        return [f"A node of {record.spec.vm_size} has {gpus} GPU(s), this host has {has}: {then}."]

    def _checked(self, spec: ComputeSpec, executor: str) -> ComputeSpec:
        """The spec with its names as they are stored."""
        check_compute_name(spec.name)
        if spec.name.lower() == LOCAL:
            raise ComputeTargetException(
                f"{spec.name!r} cannot be created: 'local' is this machine and always there. Choose another name."
            )
        shape = vm_size(spec.vm_size)
        if spec.vm_priority.lower() not in _PRIORITIES:
            raise ComputeTargetException(
                f"There is no vm_priority {spec.vm_priority!r}. Choose one of: {', '.join(_PRIORITIES)}."
            )
        if executor not in self._executors:
            raise ComputeTargetException(
                f"There is no executor {executor!r}. This server has: {', '.join(sorted(self._executors))}."
            )
        if spec.max_nodes:  # else the engine says how many it has
            _check_nodes(spec)
        size = shape.name if shape is not None else ""
        kind = _TYPES.get(executor, "AmlCompute")
        spec = replace(spec, vm_size=size, vm_priority=spec.vm_priority.lower(), type=kind)
        return self._checked_by_engine(spec, executor)

    def _checked_by_engine(self, spec: ComputeSpec, executor: str) -> ComputeSpec:
        try:
            spec = self._check(executor, spec)
        except EngineAwayError as away:
            raise ComputeTargetException(f"{away} Try again when it does.") from away
        _check_nodes(spec)
        return spec


def _gpus_of(record: ComputeRecord) -> int:
    """GPUs of each node, by what its engine was told of them, else by its shape."""
    slurm, ray, shape = record.spec.slurm, record.spec.ray, vm_size(record.spec.vm_size)
    told = gpus_of(slurm.gres) if slurm is not None else ray.gpus_per_node if ray is not None else 0
    return told or (shape.gpus if shape is not None else 0)


def _check_nodes(spec: ComputeSpec) -> None:
    if spec.max_nodes < 1 or not 0 <= spec.min_nodes <= spec.max_nodes:
        raise ComputeTargetException(
            f"min_nodes={spec.min_nodes} and max_nodes={spec.max_nodes} do not fit: "
            "max_nodes is 1 or more, and min_nodes lies between 0 and max_nodes."
        )
    idle = spec.idle_seconds_before_scaledown
    if idle is not None and idle < 0:
        raise ComputeTargetException(f"idle_seconds_before_scaledown is 0 or more seconds; this is {idle}.")


def _refuse_local(name: str, what: str) -> None:
    if name == LOCAL:
        raise ComputeTargetException(f"'local' is this machine: it cannot be {what}. Create a target of your own.")


def _refuse_other_kind(stored: ComputeRecord, spec: ComputeSpec, executor: str) -> None:
    kinds = [
        ("vm_size", stored.spec.vm_size, spec.vm_size),
        ("vm_priority", stored.spec.vm_priority, spec.vm_priority),
        ("executor", stored.executor, executor),
        ("strict", stored.spec.strict, spec.strict),
    ]
    other = [f"{name} {present!r}, not {asked!r}" for name, present, asked in kinds if present != asked]
    if other:
        raise ComputeTargetException(
            f"The compute target {spec.name!r} exists with {'; '.join(other)}. "
            "Use it as it is, choose another name, or delete it first."
        )
