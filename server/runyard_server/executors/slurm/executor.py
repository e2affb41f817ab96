"""One Slurm job for each attempt of a run; on each of its nodes a step that starts the run's job there.

What a node's job is to be lies in its directory, which the server and the nodes both see (``runyard.job.task``), and
how it ended is written there too. Slurm decides whether a job goes on: what lies in the directory only tells how it
ended. Everything else that is needed to find a job again is in its handle.
"""

import logging
import re
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from runyard.errors import ComputeTargetException
from runyard.home import read_json, write_json
from runyard.job import task
from runyard.protocol.compute import ComputeSpec, SlurmSpec
from runyard.protocol.status import Reason
from runyard_server.domain import gres
from runyard_server.executors import task_folder
from runyard_server.executors.base import (
    Ability,
    EngineAwayError,
    Executor,
    Inventory,
    JobHandle,
    JobObservation,
    JobPlan,
    JobRequest,
    JobState,
    NodeCounts,
)
from runyard_server.executors.look import Glance, Look, Lookout
from runyard_server.executors.slurm import script as scripts
from runyard_server.executors.slurm import states
from runyard_server.executors.slurm.commands import Commands, Node, NoMoreJobsError, Seen, signal_name

log = logging.getLogger(__name__)

_COUNTS_FOR_S = 5.0  # how long counted nodes are good
_NODES_FOR_S = 60.0  # how long they are for who does not wait
_LOST_AFTER_S = 10.0  # a job that Slurm does not show is given so long to appear: it was submitted a moment ago
_FULL_FOR_S = 2.0  # a limit on jobs in the queue is tried again after so long, by one run of those that wait for it
_REMEMBERED = 4096
# What a node's daemon writes into a job's log when it, or the kernel for it, has ended a step for that.
_OVER_MEMORY = re.compile(r"slurmstepd\S*: error: .*(?:exceeded memory limit|oom.kill event)", re.IGNORECASE)
_NOISE = "lacks support for cpu binding"  # srun says so of --cpu-bind=none where nothing would be bound anyway


@dataclass(frozen=True)
class _JobId:
    """A handle's word: Slurm's job, the node's place in it, and which salvage it is (0: the run's own job)."""

    number: str
    place: int
    salvage: int

    @classmethod
    def of(cls, handle: JobHandle) -> "_JobId":
        number, place, salvage = handle.job_id.split("/")
        return cls(number, int(place), int(salvage))

    def __str__(self) -> str:
        return f"{self.number}/{self.place}/{self.salvage}"


class SlurmExecutor(Executor):
    """Hands runs to Slurm.

    Args:
        commands: how Slurm is called.
        look_every_s: seconds between two looks at its queue, at least.
    """

    name = "slurm"
    abilities = frozenset({Ability.MULTI_NODE, Ability.SHARED_FOLDER, Ability.QUEUES})

    def __init__(self, commands: Commands | None = None, look_every_s: float = 1.0) -> None:
        self._commands = commands or Commands()
        self._lookout = Lookout(self._commands.jobs, look_every_s)
        self._lock = threading.Lock()
        self._over: dict[JobHandle, JobObservation] = {}
        self._starting: Glance[str, dict[str, str]] = Glance(_COUNTS_FOR_S)  # by list of nodes: the state of each
        self._end_seen: dict[JobHandle, float] = {}  # of one that goes on by Slurm's word: when its end was first seen
        self._first_asked: dict[str, float] = {}  # by job: when it was first looked for
        self._full: dict[
            str, tuple[float, NoMoreJobsError]
        ] = {}  # by what jobs ask for: until when, and what Slurm said
        self._nodes: Glance[str | None, list[Node]] = Glance(_COUNTS_FOR_S)

    # Compute targets

    def check(self, spec: ComputeSpec) -> ComputeSpec:
        super().check(spec)
        slurm = spec.slurm or SlurmSpec()
        missing = self._commands.missing
        if missing:
            raise ComputeTargetException(
                f"This server has no {missing} on its PATH. Start it on a machine from which jobs can be submitted to "
                "Slurm (a login node), with Slurm's commands on its PATH."
            )
        scripts.check_options(slurm)
        partitions = self._commands.partitions()
        names = ", ".join(partition.name for partition in partitions) or "none"
        if slurm.partition is None:
            found = next((partition for partition in partitions if partition.is_default), None)
            if found is None:
                raise ComputeTargetException(f"Slurm has no default partition. Name one of: {names}.")
        else:
            found = next((partition for partition in partitions if partition.name == slurm.partition), None)
            if found is None:
                raise ComputeTargetException(f"Slurm has no partition {slurm.partition!r}. It has: {names}.")
        nodes = self._commands.nodes(found.name)
        limit = found.time_limit_min
        if slurm.time_limit_min is not None and limit is not None and slurm.time_limit_min > limit:
            raise ComputeTargetException(
                f"time_limit_min={slurm.time_limit_min} is more than partition {found.name!r} allows, {limit} minutes."
            )
        able = [node for node in nodes if _is_able(node, spec)]
        if not able:
            raise ComputeTargetException(_nobody_is_able(spec, found.name, nodes))
        most = min(len(able), found.max_nodes or len(able))
        if spec.max_nodes > most:
            raise ComputeTargetException(
                f"max_nodes={spec.max_nodes} is more than partition {found.name!r} has for one run: {most}."
            )
        refusal = self._commands.refusal(scripts.trial_script(spec))
        if refusal:
            raise ComputeTargetException(f"Slurm would refuse the target's jobs: {refusal}")
        return replace(spec, slurm=slurm, max_nodes=spec.max_nodes or most)

    def count_nodes(self, spec: ComputeSpec) -> NodeCounts:
        partition = (spec.slurm or SlurmSpec()).partition
        return _count(self._nodes.of(partition, lambda: self._commands.nodes(partition)))

    def most_gpus(self, spec: ComputeSpec, waits: bool = True) -> int | None:
        slurm = spec.slurm or SlurmSpec()
        ask = partial(self._commands.nodes, slurm.partition)
        nodes = self._nodes.of(slurm.partition, ask) if waits else self._nodes.last(slurm.partition, ask, _NODES_FOR_S)
        return max((gres.node_gpus(node.gres, gres.gpu_kind(slurm.gres)) for node in nodes or []), default=None)

    def inventory(self) -> Inventory:
        nodes = self._commands.nodes(None)
        return Inventory(nodes=len(nodes), cpus=sum(node.cpus for node in nodes))

    # Starting

    def plan(self, request: JobRequest) -> JobPlan:
        plan = JobPlan(request.run_id, request.attempt, task_folder.node_plans(request, _python(request)))
        base = task_folder.base_of(self.name, plan)
        first = request.assignments[0]
        script = scripts.batch_script(
            target=request.target or ComputeSpec(name="slurm"),
            job_name=task_folder.job_name(plan),
            folder=str(base.parent),
            file_name=base.name,
            sdk_path=first.sdk_path,
            directories=[node.directory for node in plan.nodes],
            gpus_per_node=request.gpus_per_node,
            max_run_duration_s=first.max_run_duration_s,
            invitations=request.invitations,
        )
        return replace(plan, script=script)

    def start(self, plan: JobPlan) -> list[JobHandle]:
        trouble = self._lookout.trouble()
        if trouble is not None:
            self._lookout.latest()  # raises it, until Slurm has answered again
        number = self._started_before(plan)
        if number is None:
            number = self._submit(plan)
            self._write_number(plan, number)
            self._lookout.look_soon()
        return task_folder.handles(self.name, plan, partial(_JobId, number))

    def _submit(self, plan: JobPlan) -> str:
        """The job's id. Of many runs that a limit on jobs in the queue keeps out, one asks Slurm, and not all the time."""
        kind = scripts.kind_of(plan.script)
        with self._lock:
            until, said = self._full.get(kind, (float("-inf"), None))
        if said is not None and time.monotonic() < until:
            raise NoMoreJobsError(str(said))
        self._lay_out(plan)
        try:
            number = self._commands.submit(plan.script)
        except NoMoreJobsError as full:
            with self._lock:
                self._full[kind] = time.monotonic() + _FULL_FOR_S, full
            raise
        with self._lock:
            self._full.pop(kind, None)
        return number

    def _started_before(self, plan: JobPlan) -> str | None:
        """The job of an earlier ``start`` whose answer got lost."""
        base = task_folder.base_of(self.name, plan)
        for ending in (".job", ".number"):  # what the job says of itself goes before what its server had heard
            number = task_folder.read(_beside(base, ending))
            if number:
                return number
        if not _beside(base, ".sh").exists():
            return None
        # A server died about when it submitted: only Slurm knows whether it did.
        name = task_folder.job_name(plan)
        jobs = self._commands.jobs()
        found = [number for number, seen in jobs.items() if seen.name == name and seen.state != "FAILED"]
        if not found:
            return None
        self._write_number(plan, found[0])
        return found[0]

    def _lay_out(self, plan: JobPlan) -> None:
        """Writes what the nodes will read. Nothing is left of it where it does not work."""
        with task_folder.refused_by_the_disk(plan.run_id):
            base = task_folder.base_of(self.name, plan)
            task_folder.lay_out(plan.nodes, [scripts.CODE_FILE], _beside(base, ".job"))
            script = _beside(base, ".sh")
            script.touch(mode=0o600)  # it may hold tickets
            script.write_text(plan.script, encoding="utf-8")

    def _write_number(self, plan: JobPlan, number: str) -> None:
        _beside(task_folder.base_of(self.name, plan), ".number").write_text(number)

    # Observing

    def observe(self, handles: Iterable[JobHandle]) -> dict[JobHandle, JobObservation]:
        asked = list(handles)
        with self._lock:
            found = {handle: self._over[handle] for handle in asked if handle in self._over}
        left = [handle for handle in asked if handle not in found]
        if not left:
            return found
        look = self._lookout.latest()
        seen, unknown = self._sorted(left, look)
        if unknown:
            try:
                known = self._commands.ended_jobs(sorted({_JobId.of(handle).number for handle in unknown}))
            except EngineAwayError as away:  # the accounts alone: all other jobs are seen
                log.warning("%d jobs that Slurm has forgotten cannot be looked up: %s", len(unknown), away)
                left = [handle for handle in left if handle not in unknown]
            else:
                seen.update((handle, known.get(_JobId.of(handle).number)) for handle in unknown)
        for handle in left:
            observation = JobObservation(JobState.PENDING)
            if handle in seen:
                observation = self._translate(handle, seen[handle], look.began_at)
            found[handle] = observation
            if observation.state.is_over:
                self._remember(handle, observation)
        return found

    def _sorted(
        self, handles: Sequence[JobHandle], look: Look[Seen]
    ) -> tuple[dict[JobHandle, Seen | None], list[JobHandle]]:
        """What a look shows of each job, and those that Slurm does not know any more."""
        seen: dict[JobHandle, Seen | None] = {}
        unknown = []
        now = time.monotonic()
        with self._lock:
            for handle in handles:
                number = _JobId.of(handle).number
                job = look.jobs.get(number)
                asked_at = self._first_asked.setdefault(number, now)
                if job is not None and job.exit_code == scripts.NOT_MINE:
                    seen[handle] = look.jobs.get(_taker(handle), job)
                elif job is not None:
                    seen[handle] = job
                elif look.began_at > asked_at + _LOST_AFTER_S or _read_end(handle) is not None:
                    unknown.append(handle)
        return seen, unknown

    def _remember(self, handle: JobHandle, seen: JobObservation) -> None:
        with self._lock:
            while len(self._over) >= _REMEMBERED:
                del self._over[next(iter(self._over))]
            self._over[handle] = seen
            self._first_asked.pop(_JobId.of(handle).number, None)
            self._end_seen.pop(handle, None)

    def _translate(self, handle: JobHandle, seen: Seen | None, looked_at: float) -> JobObservation:
        """What a job is, by Slurm's word and, if it is over, by what lies in its directory."""
        if seen is not None:
            meaning = states.job_meaning(seen.state, seen.is_preempted)
            if meaning.state is JobState.PENDING:
                return JobObservation(JobState.PENDING, message=_waiting(handle, seen, meaning) + self._here(seen))
        end = _read_end(handle)
        if seen is None:
            if end is not None:
                return _ended(handle, end)
            number = _JobId.of(handle).number
            message = f"Slurm does not know its job {number} any more, and the job on node {handle.node} left no word."
            return JobObservation(JobState.LOST, message=message + _tail(handle))
        if not meaning.state.is_over:
            return self._translate_going(handle, seen, end, meaning, looked_at)
        began = _began(handle)
        if meaning.cause is None and end is None and _OVER_MEMORY.search(_tail(handle)):
            meaning = states.JOB_STATES["OUT_OF_MEMORY"]  # Slurm has ended the step alone: its job then just failed
        if meaning.cause is None and end is not None:
            return _ended(handle, end)
        observation = _ended_by_slurm(handle, seen, meaning, began)
        if end is not None:  # how the job itself ended is known too, beside why
            observation = replace(observation, exit_code=end.get("exit_code"), signal=end.get("signal"))
        elif began:
            _write_end(handle, observation)  # for servers that come when Slurm has forgotten it
        return observation

    def _here(self, seen: Seen) -> str:
        """How many of the nodes that are being started for a job are here; "" where it waits for something else."""
        if states.job_meaning(seen.state).words != states.SCALING or not seen.nodes:
            return ""
        found = self._starting.last(seen.nodes, partial(self._commands.node_states, seen.nodes), _NODES_FOR_S)
        if found is None:
            return ""
        here = sum(states.is_here(state) for state in found.values())
        return f" ({len(found)} asked, {here} here)"

    def _translate_going(
        self, handle: JobHandle, seen: Seen, end: dict[str, Any] | None, meaning: states.Meaning, looked_at: float
    ) -> JobObservation:
        """One of several nodes may be over while the others go on."""
        if end is not None and seen.is_preempted:
            made_room = _ended_by_slurm(handle, replace(seen, state="COMPLETED"), states.JOB_STATES["PREEMPTED"], True)
            return replace(made_room, exit_code=end.get("exit_code"), signal=end.get("signal"))
        if end is not None:
            with self._lock:
                ended_at = self._end_seen.setdefault(handle, time.monotonic())
            if looked_at <= ended_at:  # by a look from before its end nobody knows why it ended
                self._lookout.look_soon()
                return JobObservation(JobState.RUNNING)
            return _ended(handle, end)
        code = task_folder.read(Path(handle.directory, scripts.CODE_FILE))
        if not code:
            return JobObservation(JobState.RUNNING, message=f"Slurm's job {meaning.words}" if meaning.words else "")
        number = int(code)
        if number <= 128:
            if seen.state == "COMPLETING":  # Slurm is about to say why
                return JobObservation(JobState.RUNNING)
            message = f"The step of Slurm's job {_JobId.of(handle).number} on node {handle.node} ended without a word."
            return JobObservation(JobState.LOST, message=message + _tail(handle))
        name = signal_name(number - 128)
        if _OVER_MEMORY.search(_tail(handle)):
            words = states.JOB_STATES["OUT_OF_MEMORY"].words
            message = f"Slurm's job {_JobId.of(handle).number} {words}.{_tail(handle)}"
            return JobObservation(JobState.ENDED, None, name, message, Reason.OUT_OF_MEMORY)
        message = f"The job process of node {handle.node} was ended by {name}.{_tail(handle)}"
        return JobObservation(JobState.ENDED, None, name, message)

    # Ending

    def cancel(self, handles: Sequence[JobHandle], firmly: bool) -> None:
        if not handles:
            return
        with self._lock:
            going = [handle for handle in handles if handle not in self._over]
        nodes_of: dict[str, list[JobHandle]] = {}
        for handle in going:
            for number in {_JobId.of(handle).number, _taker(handle)} - {""}:
                nodes_of.setdefault(number, []).append(handle)
        numbers = sorted(nodes_of)
        if not numbers:
            return
        for handle in going:
            task_folder.ask_to_end(handle, _JobId.of(handle).salvage, firmly)
        if firmly:  # a step that has begun; one that begins from now on finds the file
            steps = {handle: step for handle in going if (step := _step_of(handle))}
            if steps:
                self._commands.cancel(list(steps.values()), ["--signal=KILL"])
            # A script ends by itself when its steps have. Were it killed as well, Slurm would end the steps because of
            # that, with SIGTERM, which may come before our own signal.
            whole = [
                number
                for number, mine in sorted(nodes_of.items())
                if _is_whole(mine) and not all(handle in steps for handle in mine)
            ]
            if whole:
                self._commands.cancel(whole, ["--signal=KILL", "--full"])
        # One that has not begun has nothing to end: it is taken out of the queue.
        self._commands.cancel(numbers, ["--state=PENDING"])
        self._lookout.look_soon()


def _step_of(handle: JobHandle) -> str:
    """Slurm's name of the step on the handle's node; "" where none has begun."""
    here = read_json(str(Path(handle.directory, task.WHERE_FILE)))
    step = str(here["step"]) if here is not None else ""
    # Else it is that of an earlier job of the same directory.
    return step if step.split(".")[0] in (_JobId.of(handle).number, _taker(handle)) else ""


def _is_whole(handles: Sequence[JobHandle]) -> bool:
    """Whether these handles of one job of Slurm's are all its nodes."""
    told = read_json(str(Path(handles[0].directory, task.TASK_FILE)))
    count = told["assignment"]["node_count"] if told else 1
    return len(handles) >= count or _JobId.of(handles[0]).salvage > 0


def _python(request: JobRequest) -> str:
    target = request.target
    return (target.slurm or SlurmSpec()).python if target is not None else SlurmSpec().python


def _base(handle: JobHandle) -> Path:
    """What the paths of Slurm's own files of the handle's job begin with."""
    name = task_folder.base_name(SlurmExecutor.name, handle.node, _JobId.of(handle).salvage)
    return Path(handle.directory).with_name(name)


def _beside(base: Path, ending: str) -> Path:
    return base.with_name(base.name + ending)


def _taker(handle: JobHandle) -> str:
    """The job of Slurm's that has taken the handle's attempt; "" while none has begun.

    It is another one than the handle's where a server died while it submitted and Slurm got both.
    """
    return task_folder.read(_beside(_base(handle), ".job"))


def _waiting(handle: JobHandle, seen: Seen, meaning: states.Meaning) -> str:
    number = _JobId.of(handle).number
    start = f"; expected to start at {seen.start}" if seen.start and not meaning.words else ""
    return f"Slurm's job {number} {meaning.words or states.waits_for(seen.reason)}{start}"


def _began(handle: JobHandle) -> bool:
    """Whether its script ever ran: on no node was anything started before that."""
    base = Path(handle.directory).parent
    return any(base.glob("slurm*.job"))


def _read_end(handle: JobHandle) -> dict[str, Any] | None:
    return task_folder.read_end(handle, _JobId.of(handle).salvage)


def _ended(handle: JobHandle, end: dict[str, Any]) -> JobObservation:
    return task_folder.ended(handle, end, lambda: _tail(handle))


_SCRIPTS_OWN = {
    **task_folder.BOOTSTRAPS_OWN,
    scripts.NO_FOLDER: "its first node does not see the server's folder {folder}, or it was removed. Nodes must see "
    "it under the same path: start the server with a home on a shared disk (RUNYARD_HOME)",
    scripts.NOT_MINE: "another job of Slurm had the same attempt",
    scripts.OLD_PYTHON: "the Python on its node is missing or older than 3.7. Name another one: python=... of the "
    "compute target, or a line of setup that brings one (module load ...)",
}


def _ended_by_slurm(handle: JobHandle, seen: Seen, meaning: states.Meaning, began: bool) -> JobObservation:
    """A job that is over and of which its node has said nothing, or less than Slurm knows."""
    number = _JobId.of(handle).number
    code, by = seen.exit_code, seen.signal
    words, reason = meaning.words or "ended", ""
    if seen.state.startswith("FAILED") and code in _SCRIPTS_OWN:
        words = "could not begin: " + _SCRIPTS_OWN[code].format(
            folder=Path(handle.directory).parent, url=task_folder.server_url(handle), who=task_folder.NODE
        )
    elif seen.reason not in ("", "None", "NonZeroExitCode"):
        reason = f" ({seen.state}, {seen.reason})"
    elif seen.state not in ("COMPLETED", "FAILED"):
        reason = f" ({seen.state})"
    message = f"Slurm's job {number} {words}{reason}.{_tail(handle)}"
    if meaning.state is JobState.LOST:
        return JobObservation(JobState.LOST, message=message, cause=meaning.cause, began=began)
    if meaning.cause is not None and seen.state == "COMPLETED":  # it made room in time
        return JobObservation(JobState.ENDED, 0, None, message, meaning.cause, began)
    if seen.state == "COMPLETED" and not by:  # its directory was cleared away, or it left no word: srun's is not enough
        if Path(handle.directory).exists():
            message = f"Slurm's job {number} ended, and the job on node {handle.node} left no word.{_tail(handle)}"
            return JobObservation(JobState.LOST, message=message, began=began)
        return JobObservation(JobState.ENDED, exit_code=0)
    if seen.state == "FAILED" and not by and code <= 128:
        return JobObservation(JobState.ENDED, code or 1, None, message, meaning.cause, began)
    name = signal_name(by or max(code - 128, 0) or 9)
    return JobObservation(JobState.ENDED, None, name, message, meaning.cause, began)


def _write_end(handle: JobHandle, seen: JobObservation) -> None:
    end = {"exit_code": seen.exit_code, "signal": seen.signal, "message": seen.message}
    if Path(handle.directory).is_dir():
        write_json(str(Path(handle.directory, task.EXIT_FILE)), {**end, "salvage": _JobId.of(handle).salvage})


def _count(nodes: Sequence[Node]) -> NodeCounts:
    numbers: dict[str, int] = {}
    for node in nodes:
        state = states.node_state(node.state)
        if state:
            numbers[state] = numbers.get(state, 0) + 1
    return NodeCounts(**numbers)


def _is_able(node: Node, spec: ComputeSpec) -> bool:
    """Whether a node has what each node of the target is to have. Constraints are Slurm's to read."""
    cpus, memory_mb = scripts.shape_of(spec)
    text = (spec.slurm or SlurmSpec()).gres
    gpus, kind = gres.gpus_of(text), gres.gpu_kind(text)
    return node.cpus >= cpus and node.memory_mb >= memory_mb and gres.node_gpus(node.gres, kind) >= gpus


def _nobody_is_able(spec: ComputeSpec, partition: str, nodes: Sequence[Node]) -> str:
    if not nodes:
        return (
            f"The partition {partition!r} has no nodes. Nodes of a cloud that are powered down are shown only where "
            "slurm.conf has PrivateData=cloud."
        )
    cpus, memory_mb = scripts.shape_of(spec)
    text = (spec.slurm or SlurmSpec()).gres
    wanted = [f"{cpus} CPUs" if cpus else "", f"{memory_mb} MB" if memory_mb else "", text or ""]
    shapes = sorted({(node.cpus, node.memory_mb, node.gres) for node in nodes})
    has = "; ".join(f"{c} CPUs, {m} MB" + (f", {g}" if g else "") for c, m, g in shapes[:5])
    return (
        f"No node of partition {partition!r} has {', '.join(word for word in wanted if word)}. Its nodes have: {has}. "
        "Choose another vm_size (or none), cpus_per_node, memory_mb or gres, or another partition."
    )


def _tail(handle: JobHandle) -> str:
    """The end of the job's log, or of its batch script's."""
    directory = Path(handle.directory)
    return task_folder.tail_of([directory / task.LOG_FILE, _beside(_base(handle), ".log")], _NOISE)
