"""Which queued run may start now, with which GPUs, and what each of the others waits for.

Order: priority first, then first come. Inside a target the order is strict: a run that waits
holds back those behind it, so that a large gang is not starved by small runs. Targets do not hold
each other back, except for GPUs, which belong to the host: free ones are kept for the run that
waits for GPUs longest.

Since whoever waits holds back those behind it, only the first of each line is looked at: a decision
costs as much with a hundred thousand runs in line as with ten.
"""

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from runyard.protocol.runs import ALL_GPUS, GPUS_OF_SHAPE, RunSpec
from runyard_server.domain.gpus import Gpu

_NAMED = 3  # runs that a reason names; the others are counted


@dataclass(frozen=True)
class Target:
    """A compute target's room.

    Attributes:
        max_jobs: where its engine has a queue of its own: how many runs may be with it at a time. The nodes are the
            engine's to give then, and a run waits here only for this.
    """

    name: str
    max_nodes: int
    uses_host_gpus: bool = True  # False: its engine gives GPUs out
    gpus_per_node: int = 0  # of its node shape
    max_jobs: int | None = None

    @property
    def room(self) -> int:
        """How much it holds, in nodes or, where its engine has a queue, in runs."""
        return self.max_nodes if self.max_jobs is None else self.max_jobs

    def takes(self, node_count: int) -> int:
        """How much of it a run of so many nodes takes."""
        return node_count if self.max_jobs is None else 1


@dataclass(frozen=True)
class Placed:
    """A run that holds nodes now. ``gpus``: indices by node."""

    run_id: str
    target: str
    node_count: int
    gpus: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Candidate:
    """A run that waits. ``queued_at`` in seconds; a higher ``priority`` goes first.

    ``gpus_per_node``: a number, ALL_GPUS or GPUS_OF_SHAPE.
    """

    run_id: str
    target: str
    node_count: int = 1
    gpus_per_node: int = 0
    priority: int = 0
    queued_at: float = 0.0

    @property
    def turn(self) -> tuple[int, float, str]:
        """Sorts runs in the order in which they are served."""
        return (-self.priority, self.queued_at, self.run_id)


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


class Lines:
    """Who waits in each target, in the order of service. Kept up to date run by run: nothing is sorted anew."""

    def __init__(self, waiting: Iterable[Candidate] = ()) -> None:
        self._waiting: dict[str, Candidate] = {}
        self._lines: dict[str, list[Candidate]] = {}
        for run in waiting:
            self.join(run)

    def join(self, run: Candidate) -> None:
        """Puts a run that is in no line yet into that of its target."""
        self._waiting[run.run_id] = run
        insort(self._lines.setdefault(run.target, []), run, key=_turn)

    def leave(self, run_id: str) -> None:
        """Takes a run out of its line."""
        run = self._waiting.pop(run_id)
        line = self._lines[run.target]
        del line[bisect_left(line, run.turn, key=_turn)]
        if not line:
            del self._lines[run.target]

    def find(self, run_id: str) -> Candidate | None:
        return self._waiting.get(run_id)

    def run_ids(self) -> Set[str]:
        return self._waiting.keys()

    def targets(self) -> Set[str]:
        """The targets that somebody waits for."""
        return self._lines.keys()

    def of(self, target: str) -> Sequence[Candidate]:
        """The line of one target."""
        return self._lines.get(target, ())

    def __iter__(self) -> Iterator[Candidate]:
        """All who wait, in the order in which they are served."""
        return heapq.merge(*self._lines.values(), key=_turn)


class Placement:
    """The decisions on every run that waits.

    Args:
        targets: those that somebody waits for; a missing one is not there.
        gpus: gives the host's, as its inventory shows them now; asked only where a run wants one.
    Attributes:
        starts: the decisions on those that start now, in the order in which they are served.
    """

    def __init__(
        self,
        targets: Iterable[Target],
        running: Iterable[Placed],
        lines: Lines,
        gpus: Callable[[], Sequence[Gpu]],
    ) -> None:
        self._lines = lines
        self._room = _Room(targets, running, gpus)
        self._first: dict[str, tuple[int, Decision]] = {}  # of those who wait, by target: its place in line
        self._started = {decision.run_id: decision for decision in self._decided()}
        self.starts = list(self._started.values())

    def on(self, run: Candidate) -> Decision:
        """What becomes of one of the runs."""
        if not self._room.has(run.target):
            reason = f"waits for the compute target '{run.target}', which is not there"
            return Decision(run.run_id, False, reason=reason, position=1)
        if run.run_id in self._started:
            return self._started[run.run_id]
        begin, first = self._first[run.target]
        if first.run_id == run.run_id:
            return first
        line = self._lines.of(run.target)
        count = bisect_left(line, run.turn, key=_turn) - begin
        names = _some([ahead.run_id for ahead in line[begin : begin + min(count, _NAMED)]], count)
        reason = f"waits for its turn in '{run.target}'; {_count(count, 'run')} ahead: {names}"
        return Decision(run.run_id, False, reason=reason, position=count + 1, warning=self._room.warning(run))

    def _decided(self) -> Iterator[Decision]:
        """Takes runs from the heads of the lines, in the order of service, until in each somebody waits."""
        heads = [
            (self._lines.of(target)[0].turn, target, 0) for target in self._lines.targets() if self._room.has(target)
        ]
        heapq.heapify(heads)
        while heads:
            _, target, place = heapq.heappop(heads)
            line = self._lines.of(target)
            decision = self._room.decide(line[place])
            if not decision.starts:
                self._first[target] = place, decision
                continue
            yield decision
            if place + 1 < len(line):
                heapq.heappush(heads, (line[place + 1].turn, target, place + 1))


def place(
    targets: Iterable[Target], running: Iterable[Placed], queued: Iterable[Candidate], gpus: Sequence[Gpu]
) -> list[Decision]:
    """Decides on every queued run, in the order in which they are served.

    ``gpus`` are the host's, as its inventory shows them now.
    """
    lines = Lines(queued)
    placement = Placement(targets, running, lines, lambda: gpus)
    return [placement.on(run) for run in lines]


def _turn(run: Candidate) -> tuple[int, float, str]:
    return run.turn


def asked_per_node(asked: int, of_shape: int) -> int:
    """GPUs that a run asks for on each node.

    Args:
        asked: a number, or ALL_GPUS or GPUS_OF_SHAPE.
        of_shape: what the target's nodes have; one is meant where somebody wants "all" of a shape without.
    """
    if asked == ALL_GPUS:
        return of_shape or 1
    return of_shape if asked == GPUS_OF_SHAPE else asked


def asked_of_engine(spec: RunSpec, of_shape: int) -> int:
    """The same of an engine that gives GPUs out itself: no more than it was known to have."""
    return asked_per_node(spec.gpus_per_node, of_shape) if spec.gpus_granted is None else spec.gpus_granted


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


def grant_of_nodes(asked_per_node: int, most: int | None, target: str) -> Grant:
    """The same where an engine gives GPUs out and no node of the target has more than ``most`` (None: not known)."""
    if most is None or asked_per_node <= most:
        return Grant(asked_per_node)
    has = "no node of {!r} has one" if most == 0 else f"no node of {{!r}} has more than {_count(most, 'GPU')}"
    gets = "without GPU" if most == 0 else f"with {_count(most, 'GPU')} per node"
    asked = _count(asked_per_node, "GPU")
    return Grant(most, f"The run asks for {asked} on each node, {has.format(target)}: it runs {gets}.")


class _HostGpus:
    """The host's GPUs. Those that nobody computes on come first, then the order of the bus."""

    def __init__(self, gpus: Sequence[Gpu], given: Mapping[int, str]) -> None:
        self.count = len(gpus)
        others = [gpu for gpu in gpus if gpu.index not in given]
        self.filled = [gpu for gpu in others if gpu.is_filled]
        in_order = sorted(others, key=lambda gpu: (bool(gpu.processes), gpu.index))
        self.free = [gpu.index for gpu in in_order if not gpu.is_filled]


@dataclass
class _Nodes:
    """What is left of one target."""

    target: Target
    free: int
    holders: list[str] = field(default_factory=list)


class _Room:
    """What is free now. Asked about the first of each line only: whoever waits is not asked about again."""

    def __init__(self, targets: Iterable[Target], running: Iterable[Placed], gpus: Callable[[], Sequence[Gpu]]) -> None:
        self._targets = {target.name: _Nodes(target, target.room) for target in targets}
        self._given: dict[int, str] = {}  # run id by index
        for run in running:
            nodes = self._targets.get(run.target)
            if nodes is not None:
                nodes.free -= nodes.target.takes(run.node_count)
                nodes.holders.append(run.run_id)
            self._given.update((index, run.run_id) for node in run.gpus for index in node)
        self._inventory = gpus
        self._host: _HostGpus | None = None
        self._kept_for: str | None = None  # the first run that waits for GPUs keeps the free ones

    def has(self, target: str) -> bool:
        return target in self._targets

    def warning(self, run: Candidate) -> str:
        """What the run gets less than it asked for, "" if nothing."""
        return self._grant(run).warning

    def decide(self, run: Candidate) -> Decision:
        nodes = self._targets[run.target]
        granted = self._grant(run)
        reason = self._obstacle(run, nodes, granted.per_node)
        if reason:
            return Decision(run.run_id, False, reason=reason, position=1, warning=granted.warning)
        nodes.free -= nodes.target.takes(run.node_count)
        nodes.holders.append(run.run_id)
        gpus = tuple(self._take(granted.per_node, run.run_id) for _ in range(run.node_count))
        return Decision(run.run_id, True, gpus=gpus, warning=granted.warning)

    def _grant(self, run: Candidate) -> Grant:
        target = self._targets[run.target].target
        asked = asked_per_node(run.gpus_per_node, target.gpus_per_node)
        if not asked or not target.uses_host_gpus:
            return Grant(0)
        return grant(asked, run.node_count, self._gpus().count)

    def _gpus(self) -> _HostGpus:
        if self._host is None:
            self._host = _HostGpus(self._inventory(), self._given)
        return self._host

    def _take(self, count: int, run_id: str) -> tuple[int, ...]:
        if not count:
            return ()
        free = self._gpus().free
        taken = tuple(sorted(free[:count]))
        del free[:count]
        self._given.update((index, run_id) for index in taken)
        return taken

    def _obstacle(self, run: Candidate, nodes: _Nodes, gpus_per_node: int) -> str:
        """What ``run`` waits for; "" if nothing is in its way."""
        name = nodes.target.name
        if run.node_count > nodes.target.max_nodes:
            most = _count(nodes.target.max_nodes, "node")
            cure = "raise its max_nodes or cancel the run"
            return f"asks for {run.node_count} nodes of '{name}', which has at most {most}: {cure}"
        if nodes.target.max_jobs is not None:
            if nodes.free > 0:
                return ""
            most = _count(nodes.target.max_jobs, "run")
            return f"waits until fewer than {most} of '{name}' are with its engine (max_jobs)"
        if nodes.free < run.node_count:
            missing = run.node_count - max(nodes.free, 0)
            held = f"; in use by {_some(nodes.holders[:_NAMED], len(nodes.holders))}" if nodes.holders else ""
            return f"waits for {missing} of {_count(run.node_count, 'node')} of '{name}'{held}"
        wanted = gpus_per_node * run.node_count
        if wanted == 0:
            return ""
        if self._kept_for is not None:
            return f"waits for {_count(wanted, 'GPU')}; run {self._kept_for} waits for GPUs before it"
        gpus = self._gpus()
        if len(gpus.free) >= wanted:
            return ""
        self._kept_for = run.run_id
        return f"waits for {wanted - len(gpus.free)} of {_count(wanted, 'GPU')}: " + "; ".join(self._gpu_obstacles())

    def _gpu_obstacles(self) -> list[str]:
        found = [gpu.filled_by() for gpu in self._gpus().filled]
        by_run: dict[str, list[int]] = {}
        for index, run_id in sorted(self._given.items()):
            by_run.setdefault(run_id, []).append(index)
        for run_id, indices in by_run.items():
            which = ", ".join(str(index) for index in indices)
            found.append(f"{'GPU' if len(indices) == 1 else 'GPUs'} {which} in use by run {run_id}")
        return found


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _some(names: Sequence[str], count: int) -> str:
    """``count`` runs, of which the first ones are named."""
    more = f" and {count - len(names)} more" if count > len(names) else ""
    return ", ".join(names) + more
