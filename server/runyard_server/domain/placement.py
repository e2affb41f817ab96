"""Which queued run may start now, with which GPUs, and what each of the others waits for.

Order: priority first, then first come. Inside a target the order is strict: a run that waits
holds back those behind it, so that a large gang is not starved by small runs. Targets do not hold
each other back, except for GPUs, which belong to the host: free ones are kept for the run that
waits for GPUs longest.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from runyard.protocol.runs import ALL_GPUS, GPUS_OF_SHAPE
from runyard_server.domain.gpus import Gpu


@dataclass(frozen=True)
class Target:
    """A compute target's room."""

    name: str
    max_nodes: int
    uses_host_gpus: bool = True  # False: its engine gives GPUs out
    gpus_per_node: int = 0  # of its node shape


@dataclass(frozen=True)
class Placed:
    """A run that holds nodes now. ``gpus``: indices by node."""

    run_id: str
    target: str
    node_count: int
    gpus: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Candidate:
    """A run that waits. ``queued_at`` in seconds; a higher ``priority`` goes first."""

    run_id: str
    target: str
    node_count: int = 1
    gpus_per_node: int = 0
    priority: int = 0
    queued_at: float = 0.0


@dataclass(frozen=True)
class Decision:
    """What becomes of one candidate.

    Attributes:
        starts: whether it may start now.
        gpus: indices by node if it starts.
        reason: what it waits for, as a sentence; "" if it starts.
        position: its place in the target's queue, from 1; 0 if it starts.
        warning: what it gets less than it asked for, "" if nothing.
    """

    run_id: str
    starts: bool
    gpus: tuple[tuple[int, ...], ...] = ()
    reason: str = ""
    position: int = 0
    warning: str = ""


def place(
    targets: Iterable[Target], running: Iterable[Placed], queued: Iterable[Candidate], gpus: Sequence[Gpu]
) -> list[Decision]:
    """Decides on every queued run, in the order in which they are served.

    ``gpus`` are the host's, as its inventory shows them now.
    """
    room = _Room(targets, running, gpus)
    ordered = sorted(queued, key=lambda run: (-run.priority, run.queued_at, run.run_id))
    return [room.decide(run) for run in ordered]


def asked_per_node(asked: int, of_shape: int) -> int:
    """GPUs that a run asks for on each node.

    Args:
        asked: a number, or ALL_GPUS or GPUS_OF_SHAPE.
        of_shape: what the target's nodes have; one is meant where somebody wants "all" of a shape without.
    """
    if asked == ALL_GPUS:
        return of_shape or 1
    return of_shape if asked == GPUS_OF_SHAPE else asked


@dataclass(frozen=True)
class Grant:
    """GPUs per node that a request can have on this host, and what to tell about the difference."""

    per_node: int
    warning: str = ""


def grant(asked_per_node: int, node_count: int, gpus_on_host: int) -> Grant:
    """How many GPUs each node gets once its turn comes.

    A host with fewer GPUs than asked gives each node the same smaller number, and a warning.
    """
    if asked_per_node <= 0:
        return Grant(0)
    per_node = min(asked_per_node, gpus_on_host // node_count)
    if per_node == asked_per_node:
        return Grant(per_node)
    asked = _count(asked_per_node, "GPU") + (f" on each of {node_count} nodes" if node_count > 1 else "")
    has = "no GPU" if gpus_on_host == 0 else "only " + _count(gpus_on_host, "GPU")
    gets = "without GPU" if per_node == 0 else f"with {_count(per_node, 'GPU')} per node"
    return Grant(per_node, f"The run asks for {asked}, this host has {has}: it runs {gets}.")


@dataclass
class _Queue:
    """What was decided so far in one target."""

    target: Target
    free_nodes: int
    holders: list[str]
    waiting: list[str] = field(default_factory=list)


class _Room:
    def __init__(self, targets: Iterable[Target], running: Iterable[Placed], gpus: Sequence[Gpu]) -> None:
        self._queues = {target.name: _Queue(target, target.max_nodes, []) for target in targets}
        self._gpu_count = len(gpus)
        self._given: dict[int, str] = {}  # run id by index
        for run in running:
            queue = self._queues.get(run.target)
            if queue is not None:
                queue.free_nodes -= run.node_count
                queue.holders.append(run.run_id)
            self._given.update((index, run.run_id) for node in run.gpus for index in node)
        self._filled = [gpu for gpu in gpus if gpu.index not in self._given and gpu.is_filled]
        free = [gpu for gpu in gpus if gpu.index not in self._given and not gpu.is_filled]
        # Those that nobody computes on come first, then the order of the bus.
        self._free = [gpu.index for gpu in sorted(free, key=lambda gpu: (bool(gpu.processes), gpu.index))]
        self._kept_for: str | None = None  # the first run that waits for GPUs keeps the free ones

    def decide(self, run: Candidate) -> Decision:
        queue = self._queues.get(run.target)
        if queue is None:
            return Decision(
                run.run_id, False, reason=f"waits for the compute target '{run.target}', which is not there", position=1
            )
        granted = Grant(0)
        if queue.target.uses_host_gpus:
            granted = grant(run.gpus_per_node, run.node_count, self._gpu_count)
        reason = self._obstacle(run, queue, granted.per_node)
        if reason:
            queue.waiting.append(run.run_id)
            return Decision(run.run_id, False, reason=reason, position=len(queue.waiting), warning=granted.warning)
        queue.free_nodes -= run.node_count
        queue.holders.append(run.run_id)
        gpus = tuple(self._take(granted.per_node, run.run_id) for _ in range(run.node_count))
        return Decision(run.run_id, True, gpus=gpus, warning=granted.warning)

    def _take(self, count: int, run_id: str) -> tuple[int, ...]:
        taken = tuple(sorted(self._free[:count]))
        del self._free[:count]
        self._given.update((index, run_id) for index in taken)
        return taken

    def _obstacle(self, run: Candidate, queue: _Queue, gpus_per_node: int) -> str:
        """What ``run`` waits for; "" if nothing is in its way."""
        name = queue.target.name
        if queue.waiting:
            ahead = _count(len(queue.waiting), "run")
            return f"waits for its turn in '{name}'; {ahead} ahead: {_some(queue.waiting)}"
        if run.node_count > queue.target.max_nodes:
            most = _count(queue.target.max_nodes, "node")
            cure = "raise its max_nodes or cancel the run"
            return f"asks for {run.node_count} nodes of '{name}', which has at most {most}: {cure}"
        if queue.free_nodes < run.node_count:
            missing = run.node_count - max(queue.free_nodes, 0)
            held = f"; in use by {_some(queue.holders)}" if queue.holders else ""
            return f"waits for {missing} of {_count(run.node_count, 'node')} of '{name}'{held}"
        wanted = gpus_per_node * run.node_count
        if wanted == 0:
            return ""
        if self._kept_for is not None:
            return f"waits for {_count(wanted, 'GPU')}; run {self._kept_for} waits for GPUs before it"
        if len(self._free) >= wanted:
            return ""
        self._kept_for = run.run_id
        return f"waits for {wanted - len(self._free)} of {_count(wanted, 'GPU')}: " + "; ".join(self._gpu_obstacles())

    def _gpu_obstacles(self) -> list[str]:
        found = [gpu.filled_by() for gpu in self._filled]
        by_run: dict[str, list[int]] = {}
        for index, run_id in sorted(self._given.items()):
            by_run.setdefault(run_id, []).append(index)
        for run_id, indices in by_run.items():
            which = ", ".join(str(index) for index in indices)
            found.append(f"{'GPU' if len(indices) == 1 else 'GPUs'} {which} in use by run {run_id}")
        return found


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _some(names: Sequence[str]) -> str:
    if len(names) <= 3:
        return ", ".join(names)
    return ", ".join(names[:3]) + f" and {len(names) - 3} more"
