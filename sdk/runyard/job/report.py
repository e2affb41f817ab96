"""What the job says to the server while it works: heartbeats, phases, and the bytes of its files."""

import os
import threading
import time
from typing import Callable, List, Optional

from runyard.errors import RunyardError, ServerUnavailableError, UnknownRunError
from runyard.job.collect import live_prefix
from runyard.job.spawn import Stop
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.jobs import JobAssignment, JobReply, JobReport, RankReport
from runyard.protocol.runs import RunError
from runyard.shipping import Shipper
from runyard.transport.base import Transport, url_path

BUSY_S = 0.02
IDLE_S = 0.1
AWAY_S = 1.0


class Reporter:
    """A thread that ships and reports. It never makes the ranks wait, and it never gives up.

    ``stop(why)`` is called when the server says that the run is to end.
    """

    def __init__(
        self, assignment: JobAssignment, transport: Transport, shipper: Shipper, stop: Callable[[str], None]
    ) -> None:
        self.ranks: List[RankReport] = []
        self.canceled = False
        self.timed_out = False
        self.is_stale = False
        self._assignment = assignment
        self._transport = transport
        self._shipper = shipper
        self._stop = stop
        self._live_logs = live_prefix(assignment)
        self._phase = "preparing"
        self._error: Optional[RunError] = None
        # A salvage speaks after the job that was lost, whose count it does not know.
        self._sequence = 1000000000 if assignment.salvage else 0
        self._news = threading.Event()
        self._sent = threading.Event()
        self._closing = False
        self._asked_to_stop = False
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def running(self) -> None:
        self._say("running", None)

    def collecting(self, error: Optional[RunError]) -> None:
        self._say("collecting", error)

    def finish(self, error: Optional[RunError]) -> bool:
        """Says the last word, however long the server is away. Whether it was delivered."""
        self._say("done", error)
        while not self._sent.wait(0.5):
            if self.is_stale or not os.path.isdir(self._assignment.directory):
                return False
        return True

    def wait_for_server(self) -> bool:
        """Pauses until trying again makes sense; False when nobody will want it any more."""
        time.sleep(AWAY_S)
        return not self.is_stale and os.path.isdir(self._assignment.directory)

    def close(self) -> None:
        self._closing = True
        self._news.set()

    def _say(self, phase: str, error: Optional[RunError]) -> None:
        self._phase, self._error = phase, error
        self._sent.clear()
        self._sequence += 1
        if phase != "running":  # that can wait for the next pass: the ranks are just starting
            self._news.set()

    def _run(self) -> None:
        pause = BUSY_S
        due = time.monotonic() + self._assignment.heartbeat_s
        while not self._closing:
            now = time.monotonic()
            reachable = True
            if self._news.is_set() or now >= due or (self._phase == "running" and not self._sent.is_set()):
                self._news.clear()
                reachable = self._report()
                due = now + self._assignment.heartbeat_s
            moved = False
            if reachable and self._phase != "done":
                shipped = self._shipper.ship_once(self._assignment.directory)
                logs = self._shipper.ship_tree(
                    os.path.join(self._assignment.directory, "code", "logs"), self._live_logs
                )
                moved = bool(shipped) or bool(logs)
                reachable = shipped.reachable and logs.reachable
            if not reachable:
                pause = AWAY_S
            else:
                pause = BUSY_S if moved else min(pause * 1.5, IDLE_S)
            self._news.wait(pause)

    def _report(self) -> bool:
        """Sends the present report. Whether the server answered."""
        sequence = self._sequence
        report = JobReport(
            attempt=self._assignment.attempt,
            node=self._assignment.node,
            sequence=sequence,
            phase=self._phase,
            ranks=list(self.ranks),
            error=self._error,
            canceled=self.canceled,
            timed_out=self.timed_out,
            written=self._shipper.written if self._phase == "done" else {},
            warnings=self._warnings(),
        )
        path = url_path("runs", self._assignment.run_id, "report")
        try:
            reply = from_json(JobReply, self._transport.call("POST", path, json=to_json(report)))
        except ServerUnavailableError:
            self._news.set()
            return False
        except UnknownRunError:
            reply = JobReply(stale=True)
        except RunyardError:
            self._news.set()  # a server in trouble; it is told again
            return False
        if sequence == self._sequence:
            self._sent.set()
        if reply.stale:
            self.is_stale = True
            self._stop(Stop.STALE)
        elif reply.cancel and not self._asked_to_stop:
            self._asked_to_stop = True
            self._stop(Stop.CANCEL)
        return True

    def _warnings(self) -> List[str]:
        return ["{} was not stored: {}".format(name, why) for name, why in self._shipper.refused.items()]
