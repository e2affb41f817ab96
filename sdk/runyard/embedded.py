"""The server that starts by itself: one per workspace folder, however many clients race for it."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional, Tuple

from runyard import home
from runyard.errors import ServerUnavailableError, ServiceException, WorkspaceException
from runyard.job.processes import is_alive, start_ticks
from runyard.protocol.version import PROTOCOL, VERSION
from runyard.transport.http import HttpTransport

START_TIMEOUT_S = 60.0


def server_file(folder: str) -> str:
    """The file (mode 0600) that holds the running server's address and token."""
    return os.path.join(folder, "server.json")


def describe(folder: str) -> Optional[Dict[str, Any]]:
    """What ``server.json`` says (url, token, pid, instance), None where there is none."""
    return home.read_json(server_file(folder))


def running(folder: str) -> Optional[Dict[str, Any]]:
    """The description of the server that answers for this folder now, else None.

    Raises:
        WorkspaceException: it speaks another protocol than this client; says which of the two is older.
    """
    said, health = _answering(folder)
    if said is not None and health.get("protocol") != PROTOCOL:
        raise WorkspaceException(_other_protocol(health))
    return said


def _answering(folder: str) -> Tuple[Optional[Dict[str, Any]], Dict[str, Any]]:
    """The description of the folder's server and what it says of its health, whatever protocol it speaks."""
    said = describe(folder)
    if said is None:
        return None, {}
    transport = HttpTransport(lambda: said["url"], lambda: said["token"], patience_s=0.0, timeout_s=10.0)
    try:
        health = transport.call("GET", "/health")
    except (ServerUnavailableError, ServiceException):
        return None, {}
    finally:
        transport.close()
    if health.get("instance") != said["instance"]:
        return None, {}  # another server has taken the port since
    return said, health


def _other_protocol(health: Dict[str, Any]) -> str:
    spoken, version = health.get("protocol"), health.get("version")
    which = (
        "The server of this workspace is runyard {} and speaks protocol {}; this client is {} and speaks {}.".format(
            version, spoken, VERSION, PROTOCOL
        )
    )
    if isinstance(spoken, int) and spoken > PROTOCOL:
        return "{} Install runyard {} here.".format(which, version)
    return (
        "{} Install runyard-server {} and stop the old one with `runyard down`: the next call starts the new one. "
        "Runs that go on are not ended by that.".format(which, VERSION)
    )


def transport(folder: str) -> HttpTransport:
    """A transport to the folder's server, which is started now and again whenever it is gone."""
    known = [ensure(folder)]

    def revive() -> None:
        known[0] = ensure(folder)

    return HttpTransport(lambda: known[0]["url"], lambda: known[0]["token"], patience_s=30.0, revive=revive)


def ensure(folder: str) -> Dict[str, Any]:
    """The description of a server that answers; starts it if need be, once even in a race.

    Raises:
        ServiceException: the server could not be started; holds the end of its log.
        WorkspaceException: no server is installed that this client could start.
    """
    found = running(folder)
    if found is not None:
        return found
    with _starting(folder):
        found = running(folder)  # whoever held the lock before us may have started it
        return found if found is not None else _start(folder)


def stop(folder: str, timeout_s: float = 30.0) -> bool:
    """Stops the folder's server; runs that go on are found again by the next one. Whether there was one."""
    said, _ = _answering(folder)
    if said is None:
        return False
    born = start_ticks(said["pid"])
    os.kill(said["pid"], signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    # This one's end is waited for, not that of a next one: another client may call for a server at once.
    while is_alive(said["pid"]) and start_ticks(said["pid"]) == born:
        if time.monotonic() > deadline:
            raise ServiceException(
                "The server (process {}) did not stop within {:.0f} s.".format(said["pid"], timeout_s)
            )
        time.sleep(0.02)
    return True


@contextmanager
def _starting(folder: str) -> Iterator[None]:
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with open(os.path.join(folder, "start.lock"), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _start(folder: str) -> Dict[str, Any]:
    command, found_by = server_command()
    log_path = os.path.join(folder, "server.log")
    # A server that a run's script happens to start is not part of that run, and must not end with it.
    own = ("AZUREML_", "RUNYARD_RUN_", "RUNYARD_JOB")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    with open(log_path, "ab") as log:
        began_at = log.tell()
        process = subprocess.Popen(
            command + ["--home", folder, "--embedded"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
            close_fds=True,
        )
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        said = describe(folder)
        if said is not None and said["pid"] == process.pid and running(folder) is not None:
            # Let the child be: it outlives this client on purpose.
            process.returncode = 0
            return said
        code = process.poll()
        if code is not None or time.monotonic() > deadline:
            why = "ended with code {}".format(code) if code is not None else "did not answer in time"
            raise ServiceException(
                "The server of this workspace {} ({}).\n{}\nThe whole log: {}".format(
                    why, found_by, _tail(log_path, began_at), log_path
                )
            )
        time.sleep(0.01)


def server_command() -> Tuple[List[str], str]:
    """The command that starts a server (``--home FOLDER`` is to follow), and how it was found.

    Raises:
        WorkspaceException: none is installed where this client can find it; says what to do.
    """
    chosen = os.environ.get("RUNYARD_SERVER_PYTHON")
    if chosen:
        return [chosen, "-m", "runyard_server"], "RUNYARD_SERVER_PYTHON={}".format(chosen)
    if sys.version_info >= (3, 11) and sys.executable:
        import importlib.util

        if importlib.util.find_spec("runyard_server") is not None:
            return [sys.executable, "-m", "runyard_server"], "the server installed beside this client"
    import shutil

    program = shutil.which("runyard-server")
    if program:
        return [program], "runyard-server on PATH"
    known = home.read_json(os.path.join(home.root(), "server-python.json"))
    if known and os.path.exists(str(known.get("python"))):
        return [known["python"], "-m", "runyard_server"], "the server that ran here before"
    raise WorkspaceException(
        "No runyard server is installed where this client can find it. Install the wheel runyard-server into a "
        "Python of 3.11 or newer, then either put its `runyard-server` on PATH, or set RUNYARD_SERVER_PYTHON to "
        "that interpreter, or run `runyard up` there once."
    )


def _tail(path: str, start: int, size: int = 4000) -> str:
    with open(path, "rb") as source:
        source.seek(0, os.SEEK_END)
        source.seek(max(start, source.tell() - size))
        return source.read().decode("utf-8", "replace").strip()
