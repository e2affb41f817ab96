"""An engine in memory: its jobs do nothing but what a test has them do.

``FakeEngine`` is the engine: it outlives the executors that speak to it, as a real one outlives servers.
``FakeExecutor`` passes the same contract as the others do (``executor_contract.JobContract``).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runyard.protocol.jobs import JobAssignment
from runyard.protocol.status import Reason
from runyard_server.domain.gpus import Gpu
from runyard_server.executors.base import (
    Ability,
    Executor,
    Inventory,
    JobHandle,
    JobObservation,
    JobPlan,
    JobRequest,
    JobState,
    NodePlan,
    StartFailedError,
)


@dataclass
class FakeJob:
    """One job, and the handles by which a test moves it. What is over stays as it ended.

    Attributes:
        argv: the stand-in's command where the request named one.
        asked_to_end: how often somebody asked gently.
        when_asked: what it does then; None: it is deaf.
    """

    handle: JobHandle
    assignment: JobAssignment
    argv: list[str]
    seen: JobObservation = field(default_factory=lambda: JobObservation(JobState.RUNNING))
    asked_to_end: int = 0
    when_asked: Callable[[], None] | None = None

    @property
    def is_over(self) -> bool:
        return self.seen.state.is_over

    def exit(self, code: int = 0) -> None:
        """It ends with that exit code."""
        said = f"The job of node {self.handle.node} ended with exit code {code}." if code else ""
        self._end(JobObservation(JobState.ENDED, code, message=said))

    def kill(self, signal: str = "SIGKILL") -> None:
        """A signal ends it."""
        said = f"The job of node {self.handle.node} was ended by {signal}."
        self._end(JobObservation(JobState.ENDED, None, signal, said))

    def lose(self) -> None:
        """It is gone, and the engine cannot say how it ended."""
        self._end(JobObservation(JobState.LOST, message=f"The job of node {self.handle.node} is gone."))

    def wait_for_room(self, why: str = "") -> None:
        """The engine has it and has not started it yet."""
        self.seen = JobObservation(JobState.PENDING, message=why)

    def take_out(self, said: str = "taken out of the queue") -> None:
        """It leaves the engine's queue without having begun."""
        self._end(JobObservation(JobState.ENDED, None, "SIGKILL", said, began=False))

    def end_by_engine(self, cause: Reason, said: str) -> None:
        """The engine itself ends it."""
        self._end(JobObservation(JobState.ENDED, None, "SIGKILL", said, cause))

    @property
    def waits(self) -> bool:
        """Whether it is in the engine's queue."""
        return self.seen.state is JobState.PENDING

    def begin(self) -> None:
        """The engine starts it after all."""
        self.seen = JobObservation(JobState.RUNNING)

    def _end(self, seen: JobObservation) -> None:
        if not self.is_over:
            self.seen = seen


class FakeEngine:
    """Holds the jobs.

    Args:
        name: under which its executors are known.
        gpus: number of GPUs that it shows.
        queues: whether it has a queue of its own.
        interrupt: called after each thing that happens to the engine: where a server may die.
    Attributes:
        jobs: all that were ever started, in order.
        on_start: is given each new job.
        on_look: called before an executor looks at jobs.
        away: raised by whatever is asked of it while it is set.
        refuses: nodes that cannot be started, and what the engine says of them.
    """

    def __init__(
        self,
        name: str = "local",
        gpus: int = 0,
        interrupt: Callable[[], None] = lambda: None,
        queues: bool = False,
    ) -> None:
        self.name = name
        self.queues = queues
        self.gpus = [Gpu(index, f"gpu-{index}", "Fake", 16 << 30, 16 << 30) for index in range(gpus)]
        self.interrupt = interrupt
        self.jobs: list[FakeJob] = []
        self.on_start: Callable[[FakeJob], None] = lambda job: None
        self.on_look: Callable[[], None] = lambda: None
        self.away: Exception | None = None
        self.refuses: dict[int, str] = {}

    def executor(self) -> "FakeExecutor":
        """Another executor on this engine: each server has one of its own."""
        return FakeExecutor(self)

    def jobs_of(self, run_id: str, node: int | None = None) -> list[FakeJob]:
        """The jobs that were started for a run, or for one node of it, in order."""
        return [job for job in self.jobs if job.handle.run_id == run_id and node in (None, job.handle.node)]

    def check(self) -> None:
        """Raises what keeps the engine from answering."""
        if self.away is not None:
            raise self.away


class FakeExecutor(Executor):
    """Speaks to a ``FakeEngine``; knows nothing that is not in a handle or in the engine."""

    name = "fake"
    abilities = frozenset({Ability.MULTI_NODE, Ability.GPUS, Ability.SHARED_FOLDER})

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self.name = engine.name
        if engine.queues:
            self.abilities = self.abilities | {Ability.QUEUES}

    def plan(self, request: JobRequest) -> JobPlan:
        nodes = [
            NodePlan(given.directory, list(request.argv or ["job"]), {}, given, list(given.gpus))
            for given in request.assignments
        ]
        return JobPlan(request.run_id, request.attempt, nodes)

    def start(self, plan: JobPlan) -> list[JobHandle]:
        engine = self._engine
        engine.check()
        started: list[FakeJob] = []
        for node in plan.nodes:
            trouble = self._obstacle(node)
            if trouble:
                for job in started:
                    job.kill()
                    engine.jobs.remove(job)  # a later start begins anew
                raise StartFailedError(f"Node {node.assignment.node} of run {plan.run_id}: {trouble}.")
            known = self._started_before(node.assignment)
            started.append(known or self._started_now(node))
            if known is None:
                engine.interrupt()
        return [job.handle for job in started]

    def observe(self, handles: Iterable[JobHandle]) -> dict[JobHandle, JobObservation]:
        self._engine.check()
        self._engine.on_look()
        return {handle: self._job(handle).seen for handle in handles}

    def cancel(self, handles: Sequence[JobHandle], firmly: bool) -> None:
        self._engine.check()
        for handle in handles:
            job = self._job(handle)
            if firmly:
                for of_node in self._engine.jobs_of(handle.run_id, handle.node):
                    if of_node.waits:
                        of_node.take_out()
                    else:
                        of_node.kill()  # whatever was started there for the run: it carries the same marker
            elif job.waits:
                job.take_out()
            elif not job.is_over:
                job.asked_to_end += 1
                if job.when_asked is not None:
                    job.when_asked()
            self._engine.interrupt()

    def inventory(self) -> Inventory:
        return Inventory(cpus=2, gpus=list(self._engine.gpus))

    def _obstacle(self, node: NodePlan) -> str:
        engine = self._engine
        said = engine.refuses.get(node.assignment.node, "")
        try:
            Path(node.directory).mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as problem:
            said = str(problem)
        return said

    def _started_before(self, assignment: JobAssignment) -> FakeJob | None:
        wanted = (assignment.run_id, assignment.attempt, assignment.node, assignment.salvage)
        for job in self._engine.jobs:
            there = job.assignment
            if (there.run_id, there.attempt, there.node, there.salvage) == wanted:
                return job
        return None

    def _started_now(self, node: NodePlan) -> FakeJob:
        engine, given = self._engine, node.assignment
        number = f"job-{len(engine.jobs) + 1}"
        handle = JobHandle(self.name, given.run_id, given.attempt, given.node, node.directory, number)
        job = FakeJob(handle, given, node.argv)
        engine.jobs.append(job)
        engine.on_start(job)
        return job

    def _job(self, handle: JobHandle) -> FakeJob:
        for job in self._engine.jobs:
            if job.handle == handle:
                return job
        raise AssertionError(f"no executor of this engine has given the handle {handle}")
