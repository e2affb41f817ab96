"""One node's share of a run, from its assignment to its last word."""

import json
import os
import queue
import shutil
import signal
import sys
import threading
import time
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Optional

from runyard.errors import LimitReachedError, RunyardError, ServerUnavailableError
from runyard.home import read_json, write_json
from runyard.job import conda_prefix, stacks, system_metrics
from runyard.job.collect import Collector
from runyard.job.fetch import Fetcher
from runyard.job.processes import kill_group, marker_of
from runyard.job.report import Reporter
from runyard.job.script import Script
from runyard.job.spawn import Ranks, Stop
from runyard.protocol.codec import to_json
from runyard.protocol.jobs import EnvironmentToBuild, JobAssignment
from runyard.protocol.run_parts import RunError
from runyard.protocol.status import Reason
from runyard.shipping import Shipper
from runyard.stacks import FOLDER
from runyard.transport.http import HttpTransport

if TYPE_CHECKING:
    from runyard.job.container import Container

EXIT_FILE = "exit.json"


class NodeJob:
    """Runs one assignment. ``run`` returns the process's exit code: 0 when its ranks ended well."""

    def __init__(self, assignment: JobAssignment) -> None:
        self.assignment = assignment
        self.code = assignment.shared_code or os.path.join(assignment.directory, "code")
        self.spool = os.path.join(assignment.directory, "spool")
        self.logs = os.path.join(assignment.directory, "logs")
        self._assignment_file = os.path.join(assignment.directory, "job.json")
        self._began = time.time()
        self.events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.transport = HttpTransport(self._address, lambda: assignment.token, patience_s=1.0, timeout_s=60.0)
        self.shipper = Shipper(self.transport, assignment.run_id, assignment.attempt)
        self.reporter = Reporter(assignment, self.transport, self.shipper, self.code, self._hear)
        self.error: Optional[RunError] = None
        self.ranks: Optional[Ranks] = None
        self.container = self._container_of_its_image()

    def run(self) -> int:
        signal.signal(signal.SIGTERM, lambda *_: self._hear(Stop.CANCEL))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.reporter.start()
        if self.assignment.salvage:
            self._make_folders()
            self._log("75_job_post", "The job of this node was lost; collecting what it left.")
        else:
            self._prepare_and_run()
        if self.reporter.is_stale or not self._may_collect():
            # Another attempt has taken over: nothing of ours is wanted any more.
            self.reporter.close()
            self._note_end(1)
            return 1
        self._collect()
        code = 0 if self.error is None else 1
        self._note_end(code)  # before the last word: whoever hears that may clear the directory away at once
        if self.reporter.finish(self.error):
            self._clear()
        self.reporter.close()
        return code

    def _prepare_and_run(self) -> None:
        fetcher = Fetcher(self.assignment, self.transport, self.code, self._log_preparation)
        try:
            self._make_folders()
            write_json(self._assignment_file, self._shown(), private=True)
            data = fetcher.fetch(self.reporter.wait_for_server)
            if self.assignment.build is not None:
                self.assignment = replace(self.assignment, python=self._built(self.assignment.build))
            activated = {}
            if self.container is not None:
                self.container.prepare(self._log_preparation)
                self.container.tell_address(self._address())
            else:
                activated = conda_prefix.activated(self.assignment.python, self._log_preparation)
        except (RunyardError, OSError) as fault:
            self._log_preparation(str(fault))
            self.error = RunError(code=Reason.PREPARATION_FAILED.value, message=str(fault))
            return
        except Exception as fault:  # a fault of ours must reach the user's record too
            self._log_preparation(traceback.format_exc())
            self.error = RunError(code=Reason.PREPARATION_FAILED.value, message=repr(fault))
            return
        script = Script(self.assignment, self.code, self.spool, self.logs, data, activated, self.container)
        note = script.note() if self.assignment.node == 0 else None
        if note:
            self._log_preparation(note)
        self.ranks = Ranks(self.assignment, script, self.events, self.shipper.hold, self.reporter.tell_nodes)
        self.reporter.ranks, self.reporter.notes = self.ranks.reports, self.ranks.notes
        if self.assignment.distribution.kind == "mpi" and self.assignment.node > 0:
            self.reporter.listen()
        meter = system_metrics.Meter(self.assignment.directory, self.assignment.gpus)  # of an engine's: words
        every_s = system_metrics.pace_s(self.assignment.variables)
        watch = system_metrics.Watch(self.spool, self.assignment.node, meter, every_s)
        watch.start()
        try:
            self.error = self.ranks.run(self.reporter.running, self.reporter.ranks_changed)
        finally:
            watch.stop()
        self.reporter.canceled = self.ranks.canceled
        self.reporter.timed_out = self.ranks.timed_out

    def _built(self, wanted: EnvironmentToBuild) -> str:
        from runyard.job.node_venv import NodeVenv  # few runs need it, and all wait for what is imported here

        venv = NodeVenv(wanted, self.transport, self._log_preparation, self.events.empty)
        while True:
            try:
                return venv.python()
            except (ServerUnavailableError, LimitReachedError) as away:
                if not self.reporter.wait_for_server(str(away)):
                    raise

    def _make_folders(self) -> None:
        for folder in (self.code, self.spool, os.path.join(self.logs, "azureml-logs")):
            os.makedirs(folder, exist_ok=True)

    def _may_collect(self) -> bool:
        """Says that nobody runs here any more. Where the nodes share a folder, its collector waits for all of them.

        Where they do not, each waits for those before it.
        """
        self._leave_nobody()
        self.reporter.collecting(self.error)
        own = self.assignment
        if own.own_disk and own.node > 0:  # of files of one name the first node's has that name
            return self.reporter.wait_for_turn()
        return own.shared_code is None or not own.keeps_folders or self.reporter.wait_for_the_others()

    def _collect(self) -> None:
        log = lambda line: self._log("75_job_post", line)  # noqa: E731
        collector = Collector(self.assignment, self.transport, self.shipper, self.code, self.spool, log)
        self.reporter.saved_at = collector.saved_at()
        problem = collector.collect(self.reporter.wait_for_server)
        self.reporter.notes = self.reporter.notes + collector.notes
        if problem and self.error is None:
            self.error = RunError(code=Reason.COLLECTION_FAILED.value, message=problem)

    def _leave_nobody(self) -> None:
        """Ends what the ranks left running, as daemons of a script, and removes what they left in memory."""
        own = self.assignment
        marker = marker_of(own.run_id, own.attempt, own.node)
        left = kill_group(marker, None if own.salvage else os.getpid(), but=[os.getpid()])
        if left:
            self._log("75_job_post", "Processes {} could not be ended.".format(left))
        if own.distribution.kind == "mpi":
            self._free_memory()

    def _free_memory(self) -> None:
        from runyard.job import shared_memory  # few runs need it, and all wait for what is imported here

        try:
            # The job whose leftovers this one salvages had written that file before it started a rank.
            since = os.stat(self._assignment_file).st_mtime if self.assignment.salvage else self._began
            shared_memory.remove_left(since)
        except OSError as fault:
            self._log("75_job_post", "What MPI left in memory stays there: {}.".format(fault))

    def _clear(self) -> None:
        """Frees the disk: everything is stored now."""
        for folder in (self.code, self.spool, self.logs):
            if folder != self.code or self.assignment.keeps_folders:
                shutil.rmtree(folder, ignore_errors=True)

    def _note_end(self, code: int) -> None:
        folder = self.assignment.directory
        if os.path.isdir(folder):
            try:
                write_json(os.path.join(folder, EXIT_FILE), {"exit_code": code})
            except OSError as fault:  # a full disk; a server that is here sees the exit code itself
                sys.stderr.write("{} cannot be written: {}\n".format(EXIT_FILE, fault))

    def _hear(self, *event: str) -> None:
        if event[0] == "stacks":
            # Beside what goes on: neither the ranks nor the reports wait for it.
            threading.Thread(target=self._take_stacks, args=event[1:], name="stacks", daemon=True).start()
        else:
            self.events.put(event)

    def _take_stacks(self, name: str) -> None:
        reports = list(self.ranks.reports) if self.ranks is not None else []
        try:
            stacks.take(self.assignment, reports, os.path.join(self.logs, *(FOLDER + name).split("/")))
        except OSError as fault:
            sys.stderr.write("The stacks cannot be written: {}\n".format(fault))

    def _container_of_its_image(self) -> "Optional[Container]":
        if self.assignment.container is None:
            return None
        from runyard.job.container import Container  # few runs need it, and all wait for what is imported here

        return Container(self.assignment, self.assignment.container, self.code)

    def _log_preparation(self, line: str) -> None:
        self._log("65_job_prep", line)

    def _log(self, name: str, line: str) -> None:
        path = os.path.join(self.logs, "azureml-logs", "{}-{}.txt".format(name, self.assignment.node))
        try:
            with open(path, "a", encoding="utf-8", errors="replace") as log:
                log.write(line + "\n")
        except OSError as fault:
            sys.stderr.write("{}: {}\n{}\n".format(path, fault, line))

    def _address(self) -> str:
        """Where the server is now: it may have come back at another port."""
        if self.assignment.server_file:
            said = read_json(self.assignment.server_file)
            if said and said.get("url"):
                if self.container is not None:
                    self.container.tell_address(str(said["url"]))
                return str(said["url"])
        return self.assignment.server_url

    def _shown(self) -> Any:
        shown = json.loads(json.dumps(to_json(self.assignment)))
        shown["token"] = "..."
        return shown
