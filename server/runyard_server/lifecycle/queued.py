"""Queued: the run waits for all its nodes at once, then its jobs are started."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from runyard.errors import RunyardError
from runyard.protocol.codec import to_json
from runyard.protocol.runs import RunError, RunRecord
from runyard.protocol.status import Reason, RunStatus
from runyard_server.domain.placement import Decision
from runyard_server.executors.base import Ability, JobRequest
from runyard_server.lifecycle.ports import Move, Ports
from runyard_server.records import runs as records
from runyard_server.services.leases import lease_ports, needs_ports

log = logging.getLogger(__name__)


class Queued:
    """→ Running, once every node and GPU of the gang is free."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def advance(self, runs: Sequence[RunRecord]) -> Iterator[Move]:
        waiting = {run.id: run for run in runs}
        for decision in self._ports.queue.starts(runs):
            # One at a time: what became of a start is written down before the next one begins.
            yield self._start(waiting[decision.run_id], decision)

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
            records.set_handles(connection, run.id, run.attempt, handles, now)
        warnings = run.warnings
        if decision.warning and decision.warning not in warnings:
            warnings = [*warnings, decision.warning]
        return Move(run, RunStatus.RUNNING, Reason.NODES_STARTED, changes={"warnings": warnings})

    def _handles(self, run: RunRecord, decision: Decision) -> list[dict[str, Any]]:
        ports = self._ports
        executor = ports.executors[ports.queue.executor_of(run)]
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
        gpus, share = [row.gpus for row in rows], Ability.SHARED_FOLDER in executor.abilities
        assignments = ports.assignments.build(run, gpus, rows[0].ports, share)
        handles = executor.start(executor.plan(JobRequest(run.id, run.attempt, assignments)))
        return [{**(row.handle or {}), "job": to_json(handle)} for row, handle in zip(rows, handles, strict=True)]


def _node_count(run: RunRecord) -> int:
    assert run.spec is not None
    return run.spec.node_count
