"""What the job says to the server while it works: heartbeats, phases, and the bytes of its files."""

import os
import threading
import time
import traceback
from typing import Callable, List, Optional

from runyard.errors import AttemptOverError, RunyardError, ServerUnavailableError, UnknownRunError
from runyard.job.collect import live_prefix
from runyard.job.spawn import Stop
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.jobs import JobAssignment, JobReply, JobReport, RankReport
from runyard.protocol.run_parts import RunError
from runyard.shipping import MUCH_BYTES, Shipped, Shipper
from runyard.transport.base import Transport, url_path

BUSY_S = 0.02
CROWDED_S = 0.25
IDLE_S = 0.1
AWAY_S = 1.0
LISTEN_S = 0.05


class Reporter:
    """A thread that ships and reports. It never makes the ranks wait, and it never gives up.

    ``code`` is the ranks' working directory, whose ``logs/`` are shipped while they grow.
    ``hear(what, ...)`` is called with what the server says: that the run is to end, what this node is to start, or
    that somebody wants to see the ranks' stacks.
    """

    def __init__(
        self, assignment: JobAssignment, transport: Transport, shipper: Shipper, code: str, hear: Callable[..., None]
    ) -> None:
        self.ranks: List[RankReport] = []
        self.notes: List[str] = []  # warnings of who watches the ranks
        self.canceled = False
        self.timed_out = False
        self.is_stale = False
        self.saved_at: Optional[float] = None  # when the last output was written, once they are collected
        self._assignment = assignment
        self._transport = transport
        self._shipper = shipper
        self._hear = hear
        self._code = code
        self._live_logs = live_prefix(assignment)
        self._phase = "preparing"
        self._error: Optional[RunError] = None
        self._waits_for = ""
        self._instance = ""  # of the server that answered last
        # A salvage speaks after the job that was lost, and after the salvages before it: it does not know their count.
        self._sequence = 1000000000 * assignment.salvage
        self._told = self._sequence  # that of the newest report that the server has
        self._changing = threading.Condition()
        self._news = threading.Event()
        self._closing = False
        self._asked_to_stop = False
        self._pace_s = assignment.heartbeat_s
        self._launch: List[str] = []
        self._workers_done = False
        self._ranks_over = False
        self._is_my_turn = False
        self._stacks = ""  # asked for last
        self._joined = False
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def running(self) -> None:
        self._pace_s = self._assignment.heartbeat_s
        self._say("running", None)

    def ranks_changed(self) -> None:
        """Sends what the ranks are now."""
        self._say(self._phase, self._error)

    def tell_nodes(self, launch: List[str]) -> None:
        """Sends what each node's job is to start."""
        self._launch = launch
        self._say(self._phase, self._error)

    def listen(self) -> None:
        """Asks often, until the ranks run: the first node has something for this one."""
        self._pace_s = LISTEN_S
        self._news.set()

    def collecting(self, error: Optional[RunError]) -> None:
        self._say("collecting", error)

    def wait_for_the_others(self) -> bool:
        """Waits until no rank of the run is left on any node; False when nobody wants this job any more.

        Call it after ``collecting``.
        """
        return self._wait_until(lambda: self._ranks_over)

    def wait_for_turn(self) -> bool:
        """Waits until the nodes before this one have stored what they left; as ``wait_for_the_others``."""
        return self._wait_until(lambda: self._is_my_turn)

    def _wait_until(self, is_so: Callable[[], bool]) -> bool:
        self.listen()
        with self._changing:
            while not is_so():
                if self.is_stale or not os.path.isdir(self._assignment.directory):
                    return False
                self._changing.wait(0.5)
        return True

    def finish(self, error: Optional[RunError]) -> bool:
        """Says the last word, however long the server is away. Whether it was delivered."""
        self._say("done", error)
        with self._changing:
            while self._told < self._sequence:
                if self.is_stale or not os.path.isdir(self._assignment.directory):
                    return False
                self._changing.wait(0.5)
            return not self.is_stale

    def wait_for_server(self, why: str) -> bool:
        """Pauses until trying again makes sense; False when nobody will want it any more.

        ``why`` is told to the server, for who asks what the run waits for.
        """
        if why != self._waits_for:
            self._waits_for = why
            self._say(self._phase, self._error)
        time.sleep(AWAY_S)
        return not self.is_stale and os.path.isdir(self._assignment.directory)

    def close(self) -> None:
        self._closing = True
        self._news.set()

    def _say(self, phase: str, error: Optional[RunError]) -> None:
        with self._changing:
            self._phase, self._error = phase, error
            self._sequence += 1
        if phase != "running":  # that can wait for the next pass: the ranks are just starting
            self._news.set()

    def _run(self) -> None:
        pause = BUSY_S
        told_at = time.monotonic()
        while not self._closing:
            self._news.clear()
            began = time.monotonic()
            try:
                if self._told < self._sequence or time.monotonic() >= told_at + self._pace_s:
                    self._report()
                    told_at = time.monotonic()
                passes = [] if self._phase == "done" else self._ship()
                pause = rest_s(passes, time.monotonic() - began) if any(passes) else min(pause * 1.5, IDLE_S)
                # What the server has let rest goes when its rest is over.
                pause = min([pause] + [max(BUSY_S, each.rests_s) for each in passes if each.rests_s])
            except RunyardError:  # away, or in trouble: it is told again
                pause = AWAY_S
                self._check_home()
            except Exception:  # a fault of ours: this thread is the job's only voice, and must not end
                traceback.print_exc()
                pause = AWAY_S
            self._news.wait(pause)

    def _ship(self) -> List[Shipped]:
        """Sends what is new."""
        directory = self._assignment.directory
        is_patient = self._phase == "running"
        shipped = self._shipper.ship_once(directory, is_patient)
        passes = [shipped]
        if self._assignment.keeps_folders:
            is_patient = is_patient and not shipped.is_urgent
            passes.append(self._shipper.ship_tree(os.path.join(self._code, "logs"), self._live_logs, is_patient))
        for passed in passes:
            if not passed.reachable:
                raise passed.trouble or ServerUnavailableError("the server is away")
        return passes

    def _report(self) -> None:
        """Sends the present report.

        Raises:
            RunyardError: the server did not take it.
        """
        with self._changing:
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
                waits_for=self._waits_for if self._phase == "collecting" else "",
                launch=self._launch,
                saved_at=self.saved_at,
            )
        path = url_path("runs", self._assignment.run_id, "report")
        try:
            reply = from_json(JobReply, self._transport.call("POST", path, json=to_json(report)))
        except (UnknownRunError, AttemptOverError):
            reply = JobReply(stale=True)
        if reply.instance != self._instance:
            if self._instance:
                self._shipper.doubt()
            self._instance = reply.instance
        if reply.stale:
            self._abandon()
        elif reply.cancel and not self._asked_to_stop:
            self._asked_to_stop = True
            self._hear(Stop.CANCEL)
        elif reply.workers_done and not self._workers_done:
            self._workers_done = True
            self._hear(Stop.WORKERS_DONE)
        if self._phase == "collecting":  # a long wait asks less often
            self._pace_s = min(self._pace_s * 1.2, self._assignment.heartbeat_s)
        if reply.launch and not self._joined:
            self._joined = True
            self._hear("launch", reply.launch)
        if reply.stacks and reply.stacks != self._stacks:
            self._stacks = reply.stacks
            self._hear("stacks", reply.stacks)
        with self._changing:
            self._told = sequence
            self._ranks_over = self._ranks_over or reply.ranks_over
            self._is_my_turn = self._is_my_turn or reply.turn
            self._changing.notify_all()

    def _check_home(self) -> None:
        """A directory that was removed is one that nobody wants anything of any more: the ranks end."""
        if not os.path.isdir(self._assignment.directory):
            self._abandon()

    def _abandon(self) -> None:
        if not self.is_stale:
            self.is_stale = True
            self._hear(Stop.STALE)

    def _warnings(self) -> List[str]:
        return list(self.notes) + self._shipper.warnings()


def rest_s(passes: List[Shipped], took_s: float) -> float:
    """Seconds of rest after something was sent.

    A server that takes long for a little has many to serve: each then comes less often, with more at once.
    """
    if sum(passed.sent_bytes for passed in passes) >= MUCH_BYTES:
        return 0.0  # meanwhile much has come again
    if not all(passed.complete for passed in passes):
        return BUSY_S
    return max(BUSY_S, min(2 * took_s, CROWDED_S))
