"""``python -m runyard.job.task DIRECTORY``: what an engine starts on a node of a run. It starts the job and keeps its end.

The server has laid what the job is to be into ``task.json`` of that directory, which both see. The engine tells the
rest: which nodes the run has got and which GPUs of this one. How the job ended is in ``exit.json``, written when no
process of the job is left. Who wants it to end in a friendly way makes the file ``end``, and who wants that at once
the file ``kill``, each with the job's salvage in it (a directory can have several jobs, one after the other): an engine
ends only what it has begun already.

With ``--held`` the task goes with the process that has started it: when that is gone, whatever has killed it, the job is
ended at once, and how it ended is for the engine to say.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from typing import Any, BinaryIO, Dict, List, Optional

from runyard.home import read_json, write_json
from runyard.job.processes import adopt_orphans, kill_group, node_environment, reap_orphans, send

TASK_FILE = "task.json"
END_FILE = "end"
KILL_FILE = "kill"
EXIT_FILE = "exit.json"
WHERE_FILE = "where.json"
LOG_FILE = "job.log"

HOSTS = "RUNYARD_NODES"  # names of the run's nodes, by node
STEP = "RUNYARD_STEP"  # names of the variables that make up the engine's name for this task, with dots between
HELD = "--held"
THIS_PYTHON = "{python}"  # as a job's command: whatever interpreter the task itself runs on
NOT_STARTED = 127  # a shell's code for a program that is not there

_LOOK_EVERY_S = 0.3


class Task:
    """One node's job, from its beginning to its last process."""

    def __init__(self, directory: str, task: Dict[str, Any], is_held: bool = False) -> None:
        self._directory = directory
        self._holder = os.getppid() if is_held else 0
        self._argv: List[str] = [sys.executable if word == THIS_PYTHON else word for word in task["argv"]]
        self._environment: Dict[str, str] = task["env"]
        self._assignment: Dict[str, Any] = task["assignment"]
        self._asked = False
        self._job: Optional[subprocess.Popen[bytes]] = None

    def run(self) -> int:
        """Runs the job; the exit code is the job's own, as a shell would give it."""
        here = {"host": os.uname().nodename, "pid": os.getpid(), "step": _step()}
        self._tell_where(here)
        signal.signal(signal.SIGTERM, lambda *_: self._end())
        # Looked for after the file that says where: who made it before that has not found a step to end.
        if self._is_wanted(KILL_FILE):
            self._note(None, signal.Signals.SIGKILL.name, "")
            return 128 + signal.SIGKILL
        try:
            self._job = self._start()
        except OSError as fault:
            message = "{} could not be started on {}: {}".format(self._argv[0], here["host"], fault.strerror or fault)
            self._note(NOT_STARTED, None, message)
            return NOT_STARTED
        if self._asked:
            self._end()
        threading.Thread(target=self._listen, args=(self._job,), name="end", daemon=True).start()
        code = self._job.wait()
        kill_group(self._environment["RUNYARD_JOB"], os.getpid(), but=[os.getpid()])
        if self._is_left():
            return 128 + signal.SIGKILL
        if code >= 0:
            self._note(code, None, "")
            return code
        self._note(None, signal_name(-code), "")
        return 128 - code

    def _start(self) -> "subprocess.Popen[bytes]":
        own = self._assignment
        hosts = os.environ.get(HOSTS, "").split()
        if own["addresses"] and len(hosts) == own["node_count"]:  # of a job that salvages there is one
            own["addresses"] = hosts
        if not own["gpus"]:
            own["gpus"] = [index for index in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if index]
        environment = dict(os.environ)
        environment.update(self._environment)
        environment.update(node_environment(own["run_id"], own["attempt"], own["node"], own["gpus"]))
        os.chdir(self._directory)
        log = os.open(LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            # Without a name: it holds the run's token. A file, not a pipe: nobody has to read it for us to go on.
            with _file_without_a_name(self._directory) as line:
                line.write(json.dumps(own).encode("utf-8") + b"\n")
                line.seek(0)
                return subprocess.Popen(self._argv, stdin=line, stdout=log, stderr=log, env=environment)
        finally:
            os.close(log)

    def _listen(self, job: "subprocess.Popen[bytes]") -> None:
        """Passes on that the job is to end, and buries what it leaves behind."""
        pause = threading.Event()
        while job.returncode is None:
            if self._is_wanted(KILL_FILE) or self._is_left():
                send(job.pid, signal.SIGKILL)
            elif not self._asked and self._is_wanted(END_FILE):
                self._end()
            reap_orphans([job.pid])
            pause.wait(_LOOK_EVERY_S)

    def _is_left(self) -> bool:
        """Whether the process that was to hold this one is gone."""
        return self._holder != 0 and os.getppid() != self._holder

    def _is_wanted(self, name: str) -> bool:
        """Whether such a file is there and speaks of this job."""
        try:
            with open(os.path.join(self._directory, name), encoding="ascii") as file:
                return file.read() == str(self._assignment["salvage"])
        except FileNotFoundError:
            return False

    def _end(self) -> None:
        self._asked = True
        if self._job is not None and self._job.returncode is None:
            send(self._job.pid, signal.SIGTERM)

    def _tell_where(self, here: Dict[str, Any]) -> None:
        write_json(os.path.join(self._directory, WHERE_FILE), here)

    def _note(self, code: Optional[int], name: Optional[str], message: str) -> None:
        if not os.path.isdir(self._directory):
            return  # everything is stored, and the server has cleared it away
        end = {"exit_code": code, "signal": name, "message": message, "salvage": self._assignment.get("salvage", 0)}
        self._tell_end(end)

    def _tell_end(self, end: Dict[str, Any]) -> None:
        try:
            write_json(os.path.join(self._directory, EXIT_FILE), end)
        except OSError as fault:  # a full disk: the engine's own word has to do
            sys.stderr.write("{} cannot be written: {}\n".format(EXIT_FILE, fault))


def main() -> int:
    directory = sys.argv[1]
    is_held = HELD in sys.argv[2:]
    if is_held:
        signal.pthread_sigmask(signal.SIG_SETMASK, [])  # an engine's process may have signals blocked
    adopt_orphans()
    task = read_json(os.path.join(directory, TASK_FILE))
    if task is None:
        sys.stderr.write("{} is not in {}: the nodes must see the server's folder.\n".format(TASK_FILE, directory))
        return NOT_STARTED
    return Task(directory, task, is_held).run()


def _file_without_a_name(directory: str) -> BinaryIO:
    """As `tempfile` makes them; to import that takes a tenth of what a task takes to start its job."""
    path = os.path.join(directory, "line-{}".format(os.getpid()))
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.unlink(path)
    return os.fdopen(descriptor, "w+b")


def _step() -> str:
    """The engine's name for this task, put together of the variables whose names ``STEP`` holds."""
    return ".".join(os.environ.get(name, "") for name in os.environ.get(STEP, "").split(".") if name)


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name of its own
        return "signal {}".format(number)


if __name__ == "__main__":
    sys.exit(main())
