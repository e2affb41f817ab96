"""Queued: the run waits for all its nodes at once, then its jobs are started."""

import logging
from collections.abc import Sequence

from sqlalchemy.exc import SQLAlchemyError

from runyard.errors import RunyardError
from runyard.protocol.codec import to_json
from runyard.protocol.runs import RunError, RunRecord
from runyard.protocol.status import Reason, RunStatus
from runyard_server.domain.placement import Decision
from runyard_server.executors.base import JobHandle, JobRequest
from runyard_server.lifecycle.ports import Move, Ports
from runyard_server.records import runs as records

log = logging.getLogger(__name__)


class Queued:
    """→ Running, once every node and GPU of the gang is free."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def advance(self, runs: Sequence[RunRecord]) -> list[Move]:
        waiting = {run.id: run for run in runs}
        return [
            self._start(waiting[decision.run_id], decision)
            for decision in self._ports.queue.decide(runs)
            if decision.starts and decision.run_id in waiting
        ]

    def _start(self, run: RunRecord, decision: Decision) -> Move:
        ports = self._ports
        try:
            handles = self._handles(run, decision)
        except SQLAlchemyError:
            raise  # nothing is known to have gone wrong with the run: the next pass starts it, the same job if it is there
        except Exception as fault:
            if not isinstance(fault, (RunyardError, OSError)):
                log.exception("%s could not be started", run.id)
            message = str(fault) if isinstance(fault, (RunyardError, OSError)) else repr(fault)
            # An executor starts all nodes or none: whoever cancels the run now finds none to wait for.
            with ports.database.write() as connection:
                records.remove_jobs(connection, run.id, run.attempt)
            error = RunError(code=Reason.START_FAILED.value, message=message)
            return Move(run, RunStatus.FAILED, Reason.START_FAILED, message, error)
        now = ports.clock.now()
        with ports.database.write() as connection:
            records.set_handles(connection, run.id, run.attempt, [{"job": to_json(h)} for h in handles], now)
        warnings = run.warnings
        if decision.warning and decision.warning not in warnings:
            warnings = [*warnings, decision.warning]
        return Move(run, RunStatus.RUNNING, Reason.NODES_STARTED, changes={"warnings": warnings})

    def _handles(self, run: RunRecord, decision: Decision) -> list[JobHandle]:
        ports = self._ports
        executor = ports.executors[ports.queue.executor_of(run)]
        # The rows come first: a server that dies after `start` finds them, and starting again
        # gives the same job.
        with ports.database.write() as connection:
            if not records.jobs_of(connection, run.id, run.attempt):
                records.add_jobs(connection, run.id, run.attempt, decision.gpus or [[]] * _node_count(run))
            rows = records.jobs_of(connection, run.id, run.attempt)
        assignments = ports.assignments.build(run, [row.gpus for row in rows])
        return executor.start(executor.plan(JobRequest(run.id, run.attempt, assignments)))


def _node_count(run: RunRecord) -> int:
    assert run.spec is not None
    return run.spec.node_count
