"""The loop: looks at the runs that are not at their end, lets their stages decide, applies the decisions.

Who tells it of a run (``wake``) hands it over as it is now, or has it read anew, and only the stages whose runs
changed look: one more run costs as much with ten thousand waiting as with none. Once a second everything is read and
looked at, so that a death that nobody reports is seen, and nothing depends on a message that may be lost.
"""

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass

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
LONGEST_REST_S = 0.05

log = logging.getLogger(__name__)


class Unfinished:
    """The runs that are not at their end, by status, and which statuses are due: have something new to look at."""

    def __init__(self) -> None:
        self._runs: dict[RunStatus, dict[str, RunRecord]] = {
            status: {} for status in RunStatus if not status.is_terminal
        }
        self._status: dict[str, RunStatus] = {}
        self._due: set[RunStatus] = set()

    def put(self, run: RunRecord) -> None:
        """A run as it is now; one that has ended is let go."""
        if run.status.is_terminal:
            self.drop(run.id)
            return
        before = self._status.get(run.id, run.status)
        if before is not run.status:
            del self._runs[before][run.id]
        self._status[run.id] = run.status
        self._runs[run.status][run.id] = run
        self._due |= {before, run.status}

    def drop(self, run_id: str) -> None:
        """A run that is not here any more; somebody in the queue may have its place."""
        status = self._status.pop(run_id, None)
        if status is not None:
            del self._runs[status][run_id]
            self._due |= {status, RunStatus.QUEUED}

    def look_at_all(self) -> None:
        """Every status is due."""
        self._due.update(self._runs)

    def take(self, status: RunStatus) -> list[RunRecord] | None:
        """The runs of a status if it is due, the longest there first; else None."""
        if status not in self._due:
            return None
        self._due.discard(status)
        return list(self._runs[status].values())

    def is_any_due(self, statuses: Iterable[RunStatus]) -> bool:
        return not self._due.isdisjoint(statuses)

    def run_ids(self) -> Set[str]:
        return self._status.keys()

    def version(self, run_id: str) -> int | None:
        """The version of a run as it was put here; None if it is not here."""
        status = self._status.get(run_id)
        return None if status is None else self._runs[status][run_id].version


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
            RunStatus.QUEUED: Queued(ports, nodes),
            RunStatus.CANCEL_REQUESTED: CancelRequested(nodes, finalizing),
        }
        self._unfinished = Unfinished()
        self._news = News()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="lifecycle", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self, run_id: str | None = None, run: RunRecord | None = None) -> None:
        """Something happened, to one run if its id is given: look now. Callable from any thread.

        Args:
            run: that run as it has just been written, where it is at hand: it is not read again.
        """
        self._news.tell(run_id, run)

    def stop(self) -> None:
        """Ends the loop; jobs go on and are found again by the next server."""
        self._stopping = True
        self._news.tell(None)
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def settle(self) -> None:
        """Looks until nothing moves any more."""
        while self.step():
            continue

    def step(self) -> bool:
        """One pass over every run. Whether anything moved."""
        self._read_all()
        return self._pass()

    def _pass(self) -> bool:
        """One pass over the statuses that are due. Whether anything moved."""
        moved = False
        for status, stage in self._stages.items():
            runs = self._unfinished.take(status)
            for move in self._decide(stage, runs) if runs is not None else ():
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
                known=move.run,
                message=move.message,
                error=move.error,
                attempts=move.attempts,
                **move.changes,
            )
        if done is None:
            self._news.tell(move.run.id)  # somebody was quicker: what is there now is read
            return
        if done.status.is_terminal or done.attempt > move.run.attempt:
            ports.fence.end(done.id, move.run.attempt)
        self._unfinished.put(done)
        if done.status.is_terminal:
            try:
                ports.closing.forget(done)
            except Exception:  # the run has ended all the same
                log.exception(
                    "What %s has left could not be cleared away; the next start of the server does it", done.id
                )
        ports.hub.publish(done.id)

    def _read_all(self) -> None:
        """Reads the unfinished runs, oldest first; of those that are known, only what changed. All are due."""
        with self._ports.database.read() as connection:
            versions = records.unfinished_versions(connection)
            changed = [run_id for run_id, version in versions if self._unfinished.version(run_id) != version]
            fresh = {record.id: record for record in records.get_many(connection, changed)}
        for gone in self._unfinished.run_ids() - {run_id for run_id, _ in versions}:
            self._unfinished.drop(gone)
        for run_id in changed:
            if run_id in fresh:
                self._unfinished.put(fresh[run_id])
        self._unfinished.look_at_all()

    def _take(self, told: Mapping[str, RunRecord | None]) -> None:
        """Takes some runs as they were handed over, and reads the others anew; they are due.

        One that has changed again since it was handed over is decided on in vain, and read then (``_apply``).
        """
        for run_id, run in told.items():
            if run is not None and run.version > (self._unfinished.version(run_id) or 0):
                self._unfinished.put(run)
        run_ids = [run_id for run_id, run in told.items() if run is None]
        if not run_ids:
            return
        with self._ports.database.read() as connection:
            found = {record.id: record for record in records.get_many(connection, run_ids)}
        for run_id in run_ids:
            if run_id in found:
                self._unfinished.put(found[run_id])
            else:
                self._unfinished.drop(run_id)

    def _run(self) -> None:
        try:
            self._ports.closing.sweep()
        except Exception:
            log.exception("What ended runs have left could not be cleared away")
        next_look = began = time.monotonic()
        goes_on = False  # what the last pass moved is looked at in the next, at once
        while not self._stopping:
            now = time.monotonic()
            # Half of the time belongs to those who ask: in a burst of news each pass takes what came in its rest.
            rest_s = 0.0 if goes_on else min(now - began, LONGEST_REST_S)
            news = self._news.take(0.0 if goes_on else next_look - now, rest_s)
            began = began if goes_on else time.monotonic()
            try:
                if news.everything or time.monotonic() >= next_look:
                    next_look = time.monotonic() + LOOK_EVERY_S
                    self._read_all()
                else:
                    self._take(news.runs)
                self._pass()
                goes_on = self._unfinished.is_any_due(self._stages)
            except Exception:
                log.exception("The lifecycle's pass failed; it goes on")
                goes_on = False


@dataclass(frozen=True)
class Told:
    """What the loop was told since it last asked."""

    runs: Mapping[str, RunRecord | None]  # as they were handed over; None: to be read
    everything: bool


class News:
    """What other threads tell the loop."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._runs: dict[str, RunRecord | None] = {}  # in the order in which they were told
        self._everything = False

    def tell(self, run_id: str | None, run: RunRecord | None = None) -> None:
        """One run has changed, or, with None, any may have. ``run``: as it is now, where that is at hand."""
        with self._changed:
            if run_id is None:
                self._everything = True
            else:
                # Told twice, its two changes may have come here in either order: it is read.
                self._runs[run_id] = None if run_id in self._runs else run
            self._changed.notify()

    def take(self, timeout_s: float, rest_s: float = 0.0) -> Told:
        """What was told, once there is something, but not before ``rest_s``; nothing after ``timeout_s``."""
        with self._changed:
            if rest_s > 0:
                self._changed.wait_for(lambda: self._everything, rest_s)
            if timeout_s > 0:
                self._changed.wait_for(lambda: self._everything or self._runs, timeout_s)
            told = Told(self._runs, self._everything)
            self._runs = {}
            self._everything = False
            return told


def _broken(run: RunRecord, stage: Stage) -> Move:
    message = f"The server failed in {type(stage).__name__} on this run; its log (server.log) has the details."
    error = RunError(code=Reason.INTERNAL_ERROR.value, message=message)
    return Move(run, RunStatus.FAILED, Reason.INTERNAL_ERROR, message, error)
