"""Queued: the run waits for all its nodes at once, then its jobs are started.

An engine that has a queue of its own is given the run at once; it waits there, and stays Queued until it has begun.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy.exc import SQLAlchemyError

from runyard.errors import RunyardError
from runyard.protocol.codec import to_json
from runyard.protocol.runs import RunError, RunRecord
from runyard.protocol.status import Reason, RunStatus
from runyard_server.domain.placement import Decision, asked_of_engine
from runyard_server.executors.base import Ability, EngineAwayError, Executor, JobHandle, JobRequest, JobState
from runyard_server.lifecycle.nodes import Nodes
from runyard_server.lifecycle.ports import Move, Ports
from runyard_server.records import runs as records
from runyard_server.services.leases import lease_ports, needs_ports

WATCH_EVERY_S = 0.5
HAND_OVER_S = 0.5  # how long one pass submits to engines' queues, so that everybody else is served meanwhile

log = logging.getLogger(__name__)


class Queued:
    """→ Running, once every node and GPU of the gang is free, or the engine's own queue has served it."""

    def __init__(self, ports: Ports, nodes: Nodes) -> None:
        self._ports = ports
        self._nodes = nodes
        self._handed: dict[str, list[JobHandle]] = {}  # by run that waits in an engine's queue
        self._told_away: set[str] = set()  # runs that wait for an engine to come back
        self._watch_at = float("-inf")

    def advance(self, runs: Sequence[RunRecord]) -> Iterator[Move]:
        waiting = {run.id: run for run in runs}
        for gone in (self._handed.keys() | self._told_away) - waiting.keys():
            self._handed.pop(gone, None)
            self._told_away.discard(gone)
            self._ports.queue.take_back(gone)
        now = self._ports.clock.monotonic()
        if self._handed and now >= self._watch_at:
            self._watch_at = now + WATCH_EVERY_S
            yield from self._watch({run.id: run for run in runs if run.id in self._handed})
        ours = [run for run in runs if run.id not in self._handed]
        until = time.monotonic() + HAND_OVER_S
        for decision in self._ports.queue.starts(ours):
            run = waiting[decision.run_id]
            executor = self._ports.executors[self._ports.queue.executor_of(run)]
            if Ability.QUEUES in executor.abilities and time.monotonic() > until:
                self._ports.wake()  # the rest in the next pass
                continue
            # One at a time: what became of a start is written down before the next one begins.
            move = self._start(run, decision, executor)
            if move is not None:
                yield move

    def _watch(self, runs: Mapping[str, RunRecord]) -> Iterator[Move]:
        """Moves those on that have begun in their engine's queue, and notes what the others wait for."""
        ports = self._ports
        seen = self._nodes.observe([handle for run_id in runs for handle in self._handed[run_id]])
        for run_id, run in runs.items():
            shown = [seen[handle] for handle in self._handed[run_id] if handle in seen]
            if len(shown) < len(self._handed[run_id]):
                ports.queue.say(run_id, "is with its engine, which does not answer now")
            elif all(job.state is JobState.PENDING for job in shown):
                ports.queue.say(run_id, shown[0].message or "waits in its engine's queue")
            elif all(job.state.is_over and not job.began for job in shown):
                yield self._never_began(run, shown[0].message)
            else:
                with ports.database.write() as connection:
                    records.set_begun(connection, run_id, run.attempt, ports.clock.now())
                yield Move(run, RunStatus.RUNNING, Reason.NODES_STARTED)

    def _never_began(self, run: RunRecord, why: str) -> Move:
        with self._ports.database.write() as connection:
            records.remove_jobs(connection, run.id, run.attempt)
        error = RunError(code=Reason.START_FAILED.value, message=why)
        return Move(run, RunStatus.FAILED, Reason.START_FAILED, why, error)

    def _start(self, run: RunRecord, decision: Decision, executor: Executor) -> Move | None:
        ports = self._ports
        try:
            rows, handles, own_disks = self._handles(run, decision, executor)
        except SQLAlchemyError:
            raise  # nothing is known to have gone wrong with the run: the next pass starts it, the same job if it is there
        except EngineAwayError as away:
            self._told_away.add(run.id)
            ports.queue.say(run.id, f"waits for its engine: {away}")
            return None
        except Exception as fault:
            if not isinstance(fault, (RunyardError, OSError)):
                log.exception("%s could not be started", run.id)
            message = str(fault) if isinstance(fault, (RunyardError, OSError)) else repr(fault)
            # An executor starts all nodes or none: whoever cancels the run now finds none to wait for.
            with ports.database.write() as connection:
                records.remove_jobs(connection, run.id, run.attempt)
            error = RunError(code=Reason.START_FAILED.value, message=message)
            return Move(run, RunStatus.FAILED, Reason.START_FAILED, message, error)
        queues = Ability.QUEUES in executor.abilities
        more = {"own_disk": True} if own_disks else {}
        written = [
            {**(row.handle or {}), **more, "job": to_json(handle)} for row, handle in zip(rows, handles, strict=True)
        ]
        with ports.database.write() as connection:
            records.set_handles(connection, run.id, run.attempt, written, None if queues else ports.clock.now())
        if queues:
            self._handed[run.id] = handles
            ports.queue.hand_over(run)
            ports.queue.say(run.id, f"was handed over to {executor.name}")
            return None
        warnings = run.warnings
        if decision.warning and decision.warning not in warnings:
            warnings = [*warnings, decision.warning]
        return Move(run, RunStatus.RUNNING, Reason.NODES_STARTED, changes={"warnings": warnings})

    def _handles(
        self, run: RunRecord, decision: Decision, executor: Executor
    ) -> tuple[Sequence[records.JobRow], list[JobHandle], bool]:
        """The rows of its nodes, their handles, and whether they do not see the server's folder."""
        ports = self._ports
        # The rows come first: a server that dies after `start` finds them, and starting again gives the same job.
        # With them the ports: a gang of which that server had started one half is told the same by this one.
        with ports.database.read() as connection:
            rows = records.jobs_of(connection, run.id, run.attempt)
            taken = records.leased_ports(connection) if not rows and needs_ports(run) else set[int]()
        if not rows:
            leased = lease_ports(run, taken)
            with ports.database.write() as connection:
                given = decision.gpus or [()] * _node_count(run)
                records.add_jobs(connection, run.id, run.attempt, given, leased)
                rows = records.jobs_of(connection, run.id, run.attempt)
        request = self._request(run, [row.gpus for row in rows], rows[0].ports, executor)
        return rows, executor.start(executor.plan(request)), bool(request.invitations)

    def _request(
        self, run: RunRecord, gpus: Sequence[Sequence[int]], leased: Sequence[int], executor: Executor
    ) -> JobRequest:
        ports = self._ports
        told = ports.assignments
        assignments = told.build(run, gpus, leased, Ability.SHARED_FOLDER in executor.abilities)
        if Ability.QUEUES not in executor.abilities:
            return JobRequest(run.id, run.attempt, assignments)
        assert run.spec is not None
        target = ports.compute(run.target or "local")
        asked = asked_of_engine(run.spec, target.gpus_per_node)
        if target.spec.scratch:
            elsewhere = told.on_own_disks(run, assignments, target.spec)
        else:
            elsewhere = told.as_seen_elsewhere(assignments)
        return JobRequest(
            run.id,
            run.attempt,
            elsewhere,
            target=target.spec,
            gpus_per_node=asked,
            invitations=told.invitations(elsewhere, target.spec),
            driver_invitation=told.driver_invitation(elsewhere, target.spec),
        )


def _node_count(run: RunRecord) -> int:
    assert run.spec is not None
    return run.spec.node_count
