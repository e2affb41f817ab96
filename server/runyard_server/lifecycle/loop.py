"""The loop: looks at every run that is not at its end, lets its stage decide, applies the decision."""

import logging
import threading
from collections.abc import Iterator, Mapping

from sqlalchemy.exc import SQLAlchemyError

from runyard.errors import RunyardError
from runyard.protocol.runs import RunError, RunRecord
from runyard.protocol.status import Reason, RunStatus
from runyard_server.lifecycle.cancel_requested import CancelRequested
from runyard_server.lifecycle.finalizing import Finalizing
from runyard_server.lifecycle.nodes import Nodes
from runyard_server.lifecycle.not_responding import NotResponding
from runyard_server.lifecycle.ports import Move, Ports, Stage
from runyard_server.lifecycle.preparing import Preparing
from runyard_server.lifecycle.queued import Queued
from runyard_server.lifecycle.running import Running
from runyard_server.lifecycle.starting import Starting
from runyard_server.records import runs as records

LOOK_EVERY_S = 1.0  # how soon a death that nobody reports is seen

log = logging.getLogger(__name__)


class Lifecycle:
    """Moves runs on. One thread; ``wake`` makes it look at once."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        nodes = Nodes(ports)
        finalizing = Finalizing(ports, nodes)
        # In this order a run that is submitted reaches its nodes within one pass. A cancelled one comes
        # after Preparing, which lets go of it: nothing is written to its log once it has ended.
        self._stages: Mapping[RunStatus, Stage] = {
            RunStatus.FINALIZING: finalizing,
            RunStatus.NOT_RESPONDING: NotResponding(ports, nodes),
            RunStatus.RUNNING: Running(ports, nodes),
            RunStatus.STARTING: Starting(ports),
            RunStatus.PREPARING: Preparing(ports),
            RunStatus.QUEUED: Queued(ports),
            RunStatus.CANCEL_REQUESTED: CancelRequested(ports, nodes, finalizing),
        }
        self._known: dict[str, RunRecord] = {}
        self._woken = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="lifecycle", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Something happened: look now. Callable from any thread."""
        self._woken.set()

    def stop(self) -> None:
        """Ends the loop; jobs go on and are found again by the next server."""
        self._stopping = True
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def settle(self) -> None:
        """Looks until nothing moves any more."""
        while self.step():
            continue

    def step(self) -> bool:
        """One pass over every status. Whether anything moved."""
        self._refresh()
        moved = False
        for status, stage in self._stages.items():
            runs = [run for run in self._known.values() if run.status is status]
            for move in self._decide(stage, runs):
                try:
                    self._apply(move)
                except RunyardError as fault:  # told with the run's story; the other runs go on
                    log.warning("%s to %s: %s", move.run.id, move.to, fault)
                except Exception:
                    log.exception("%s to %s failed; it is tried again", move.run.id, move.to)
                else:
                    moved = True
        return moved

    def _decide(self, stage: Stage, runs: list[RunRecord]) -> Iterator[Move]:
        try:
            yield from stage.advance(runs)
        except (OSError, SQLAlchemyError):
            # The disk or the database is in trouble, not the runs: their jobs go on, and are looked at again.
            log.exception("%s could not look at its runs", type(stage).__name__)
        except Exception as fault:
            if len(runs) > 1:
                # One run must not stop all the others. Each decision is carried out before the next is made.
                for run in runs:
                    yield from self._decide(stage, [run])
            elif isinstance(fault, RunyardError):
                log.warning("%s: %s", type(stage).__name__, fault)
            else:
                log.exception("%s failed", type(stage).__name__)
                for run in runs:
                    yield _broken(run, stage)

    def _apply(self, move: Move) -> None:
        ports = self._ports
        if move.to.is_terminal:
            ports.closing.keep_logs(move.run)
        with ports.database.write() as connection:
            done = records.move(
                connection,
                move.run.id,
                move.to,
                move.reason,
                ports.clock.now(),
                expected_version=move.run.version,
                message=move.message,
                error=move.error,
                **move.changes,
            )
        if done is None:
            return  # somebody was quicker: the next pass reads what is there now
        self._known[done.id] = done
        if done.status.is_terminal:
            ports.closing.forget(done)
        ports.hub.publish(done.id)

    def _refresh(self) -> None:
        """Reads the unfinished runs, oldest first; of those that are known, only what changed."""
        with self._ports.database.read() as connection:
            versions = records.unfinished_versions(connection)
            changed = [run_id for run_id, version in versions if _version(self._known.get(run_id)) != version]
            fresh = {record.id: record for record in records.get_many(connection, changed)}
        self._known = {
            run_id: found
            for run_id, _ in versions
            if (found := fresh.get(run_id) or self._known.get(run_id)) is not None
        }

    def _run(self) -> None:
        try:
            self._ports.closing.sweep()
        except Exception:
            log.exception("What ended runs have left could not be cleared away")
        while not self._stopping:
            self._woken.clear()
            try:
                moved = self.step()
            except Exception:
                log.exception("The lifecycle's pass failed; it goes on")
                moved = False
            if not moved:
                self._woken.wait(LOOK_EVERY_S)


def _version(record: RunRecord | None) -> int | None:
    return record.version if record else None


def _broken(run: RunRecord, stage: Stage) -> Move:
    message = f"The server failed in {type(stage).__name__} on this run; its log (server.log) has the details."
    error = RunError(code=Reason.INTERNAL_ERROR.value, message=message)
    return Move(run, RunStatus.FAILED, Reason.INTERNAL_ERROR, message, error)
