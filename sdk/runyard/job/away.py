"""A node's task where the server's folder is not seen: what ``task.py`` reads and writes there goes over HTTP.

``bootstrap.py`` has fetched the job and this package. The job's directory lies on the node's own disk, and goes with
the job once everything of it is stored.
"""

import os
import shutil
import signal
import socket
import sys
import threading
import traceback
from functools import partial
from typing import Any, Callable, Dict, Optional

from runyard.errors import AttemptOverError, RunyardError
from runyard.job import ray_gang_away
from runyard.job.held import clean
from runyard.job.processes import MARKER, adopt_orphans, kill_group
from runyard.job.ray_notice import OwnNotice
from runyard.job.task import END_FILE, KILL_FILE, LOG_FILE, NOT_STARTED, Task
from runyard.transport.base import url_path
from runyard.transport.http import HttpTransport

_LOOK_EVERY_S = 2.0
_LOOK_FOR_HOLDER_EVERY_S = 0.3
_TAIL_BYTES = 2000
_END_PATIENCE_S = 60.0


class AwayTask(Task):
    """Asks the server what it would else find in the directory, and tells it what it would else write there."""

    def __init__(self, directory: str, told: Dict[str, Any], transport: HttpTransport, is_held: bool) -> None:
        super().__init__(directory, told, is_held)
        own = self._assignment
        self._transport = transport
        self._route = ("runs", own["run_id"], "attempts", str(own["attempt"]), "nodes", str(own["node"]))
        self._wanted: str = told["wanted"]
        self._over = threading.Event()

    def run(self) -> int:
        threading.Thread(target=self._keep_asking, name="wanted", daemon=True).start()
        try:
            return super().run()
        finally:
            self._over.set()

    def _keep_asking(self) -> None:
        while not self._over.wait(_LOOK_EVERY_S):
            try:
                self._wanted = self._transport.call("GET", url_path(*self._route, "wanted"))["wanted"]
            except AttemptOverError:
                self._wanted = END_FILE  # nobody wants anything of it any more
            except RunyardError:
                continue  # away: the job itself waits for it too

    def _is_wanted(self, name: str) -> bool:
        return self._wanted == name or (self._wanted == KILL_FILE and name == END_FILE)

    def _tell_where(self, here: Dict[str, Any]) -> None:
        """The server knows: it came with the node's arrival."""

    def tell_signal(self, number: int) -> None:
        """Tells the server that a signal has ended the job."""
        self._note(None, signal.Signals(number).name, "")

    def _tell_end(self, end: Dict[str, Any]) -> None:
        said = dict(end, began=True, tail=_end_of(os.path.join(self._directory, LOG_FILE)))
        said.pop("salvage", None)
        url, token = self._transport.place()
        patient = HttpTransport(lambda: url, lambda: token, patience_s=_END_PATIENCE_S)
        try:
            patient.call("POST", url_path(*self._route, "end"), json=said)
        except AttemptOverError:
            return  # everything is stored
        except RunyardError as untold:  # the engine tells the end too, with less words
            sys.stderr.write("{}\n".format(untold))


def make_directory(given: Dict[str, Any], root: str) -> str:
    """The job's directory on the node's disk. Raises OSError where that has no room.

    Args:
        given: what the server has answered to the ticket.
        root: this user's folder there.
    """
    own = given["task"]["assignment"]
    # The claim is in it: two workspaces may have a run of one name.
    name = "{}-{}-{}-{}".format(own["run_id"], own["attempt"], own["node"], given["claim"][:8])
    directory = os.path.join(root, "runs", name)
    os.makedirs(directory, mode=0o700)
    return directory


def run(told: Dict[str, Any], given: Dict[str, Any], root: str, sdk: str, directory: str, holder: int) -> int:
    """Runs the job that a node has come for; its exit code.

    Args:
        told: the invitation.
        given: what the server has answered to it.
        root: this user's folder on the node's disk.
        sdk: the folder that this package lies in.
        directory: as ``make_directory`` gave it.
        holder: the process that had started this one.
    """
    own = given["task"]["assignment"]
    own.update(directory=directory, sdk_path=sdk, token=given["token"], server_url=told["server_url"])
    if own["build"]:
        own["build"]["folder"] = os.path.join(root, "environments")
    given["task"]["env"]["PYTHONPATH"] = sdk
    transport = HttpTransport(lambda: told["server_url"], lambda: given["token"], patience_s=1.0)
    is_held = bool(told["held"])
    task_of = partial(AwayTask, directory, dict(given["task"], wanted=given["wanted"]), transport)
    code = _hold(task_of, given["task"], holder, transport) if is_held else _run(task_of(is_held=False))
    if not os.path.isdir(os.path.join(directory, "code")):  # the job removes it when the server has everything
        shutil.rmtree(directory, ignore_errors=True)
    elif code != NOT_STARTED:
        sys.stderr.write("What was not stored lies on {} in {}.\n".format(socket.gethostname(), directory))
    return code


def _run(task: AwayTask) -> int:
    adopt_orphans()
    return task.run()


def _hold(task_of: Callable[..., AwayTask], told: Dict[str, Any], holder: int, transport: HttpTransport) -> int:
    """As ``held.hold``: the task stands in a session of its own, and ends its job in order when this process is killed."""
    signal.signal(
        signal.SIGTERM, lambda *_: None
    )  # the engine sends it to each process: the task ends its job by itself
    if os.getppid() != holder:  # it went while the job came here; the engine tells that
        sys.stderr.write("The engine's process that had started this is gone: nothing is begun.\n")
        return NOT_STARTED
    pid = os.fork()
    if pid == 0:
        code = NOT_STARTED
        try:
            os.setsid()
            kept = clean(dict(os.environ))  # the engine's own stay with this one's parent, which asks it with them
            os.environ.clear()
            os.environ.update(kept)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])  # an engine's process may have signals blocked
            code = _run(task_of(is_held=True))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    threading.Thread(target=_go_with, args=(holder,), name="holder", daemon=True).start()
    notice = _notice_of(told["assignment"], transport)
    status = os.waitpid(pid, 0)[1]
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if number:  # it was killed itself: its job must not outlive it, and somebody has to say how it ended
        kill_group(told["env"][MARKER], pid)
        task_of(is_held=False).tell_signal(number)
    if notice is not None:
        notice.close()
    return 128 + number if number else os.WEXITSTATUS(status)


def _notice_of(own: Dict[str, Any], transport: HttpTransport) -> Optional[OwnNotice]:
    """Has the server told when this node is about to be taken away; a gang's driver does that for all of its nodes."""
    if own["node_count"] > 1:
        return None
    return OwnNotice(partial(ray_gang_away.leave, transport, own["run_id"], own["attempt"]))


def _go_with(holder: int) -> None:
    """Ends this process when the engine's own is gone that has started it; the task sees that, and ends its job."""
    pause = threading.Event()
    while os.getppid() == holder:
        pause.wait(_LOOK_FOR_HOLDER_EVERY_S)
    os._exit(128 + signal.SIGKILL)


def _end_of(path: str) -> str:
    try:
        with open(path, "rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - _TAIL_BYTES))
            return log.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""
