"""An MLflow server over a folder ``mlruns`` or a database, for as long as an import reads from it.

What MLflow keeps on a disk is read by MLflow: its formats are its own and change. The program is that of a Python that
has it, or uv's. A database is copied first, and the copy is brought to the program's form: the original stays as it is.
"""

import contextlib
import importlib.util
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from typing import Dict, Iterator, List, Optional
from urllib.parse import unquote, urlsplit

from runyard.beside import ended_in_order, uv_program
from runyard.errors import RunyardError, UserErrorException

_HOST = "127.0.0.1"
_START_S = 600.0  # uv may have to fetch it first
_SQLITE = "sqlite:///"
_QUIET = {
    "MLFLOW_ALLOW_FILE_STORE": "true",  # newer ones read a folder only if they are told so
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "PYTHONSAFEPATH": "1",  # as below, for what MLflow starts itself
}
# `python -m mlflow` would import whatever lies beside the data under a module's name.
_START = """\
import sys
sys.path[:] = [place for place in sys.path if place]
from runpy import run_module
sys.argv[0] = "mlflow"
run_module("mlflow", run_name="__main__", alter_sys=True)
"""


def is_address(uri: str) -> bool:
    """Whether a server is meant, which answers already."""
    return uri.lower().startswith(("http://", "https://"))


@contextlib.contextmanager
def served(uri: str, python: Optional[str] = None, artifacts: Optional[str] = None) -> Iterator[str]:
    """The address of an MLflow server that has what lies at ``uri``: a folder, ``file:`` or ``sqlite:///``.

    Args:
        python: an interpreter that has MLflow; default: this one if it has, else one that uv makes.
        artifacts: the folder with the files that clients had sent to a server over that database.
    Raises:
        UserErrorException: there is no such thing, or nothing to read it with; says what to do.
    """
    with tempfile.TemporaryDirectory(prefix="runyard-mlflow-") as scratch:
        program = _program(python)
        if uri.lower().startswith(_SQLITE):
            database = _database(uri)
            copy = os.path.join(scratch, "copy.db")
            _copied(database, copy)
            place, store = os.path.dirname(database), _SQLITE + copy
            _run([*program, "db", "upgrade", store], place)
        else:
            store = _folder(uri)
            place = os.path.dirname(store)
        kept = os.path.abspath(artifacts) if artifacts else os.path.join(place, "mlartifacts")
        port = _free_port()
        command = [*program, "server", "--backend-store-uri", store, "--host", _HOST, "--port", str(port)]
        command += ["--workers", "1", "--artifacts-destination", kept]
        with ended_in_order(), _running(command, place, os.path.join(scratch, "server.txt"), port):
            yield "http://{}:{}".format(_HOST, port)


def _folder(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.scheme and parts.scheme != "file" and not os.path.isdir(uri):
        raise UserErrorException(
            "An import reads from an MLflow server (http://...), a folder mlruns or sqlite:///FILE, not from {!r}. For "
            "another database start MLflow's own server over it (mlflow server --backend-store-uri ...) and give that "
            "server's address.".format(parts.scheme + "://...")
        )
    folder = os.path.abspath(unquote(parts.path) if parts.scheme == "file" else uri)
    if not os.path.isdir(folder):
        raise UserErrorException("There is no folder {}.".format(folder))
    if not any(os.path.exists(os.path.join(folder, name, "meta.yaml")) for name in os.listdir(folder)):
        hint = " Is it {}?".format(os.path.join(folder, "mlruns")) if "mlruns" in os.listdir(folder) else ""
        raise UserErrorException("No experiments of MLflow lie in {}.{}".format(folder, hint))
    return folder


def _database(uri: str) -> str:
    path = os.path.abspath(uri[len(_SQLITE) :].split("?")[0])
    if not os.path.isfile(path):
        raise UserErrorException(
            "There is no database {}. It is sqlite:///relative or sqlite:////absolute.".format(path)
        )
    return path


def _copied(database: str, to: str) -> None:
    """The database as it is at one moment, whoever writes to it meanwhile."""
    try:
        with contextlib.closing(sqlite3.connect("file:{}?mode=ro".format(database), uri=True)) as source:
            with contextlib.closing(sqlite3.connect(to)) as target:
                source.backup(target)
                target.execute("SELECT count(*) FROM experiments").fetchone()
    except sqlite3.Error as fault:
        raise UserErrorException("{} is no database of MLflow that can be read: {}.".format(database, fault)) from None


def _program(python: Optional[str]) -> List[str]:
    if python is not None:
        return [os.path.abspath(python) if os.sep in python else python, "-c", _START]
    if importlib.util.find_spec("mlflow") is not None and importlib.util.find_spec("flask") is not None:
        return [sys.executable, "-c", _START]
    uv = uv_program()
    if uv is None:
        raise UserErrorException(
            "A folder or a database of MLflow is read by MLflow, which is not in this Python, and there is no uv to "
            "fetch it. Name a Python that has it (--python PATH), or install uv ({} -m pip install uv).".format(
                sys.executable
            )
        )
    return [*uv, "tool", "run", "--quiet", "--from", "mlflow", "mlflow"]


def _environment() -> Dict[str, str]:
    # Where this process tracks, and as whom, is nothing to a server over a folder.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "_MLFLOW_"))}
    return {**kept, **_QUIET}


def _run(command: List[str], folder: str) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except OSError as fault:
        raise UserErrorException("{} cannot be started: {}.".format(command[0], fault.strerror)) from None
    if done.returncode:
        raise _said(done.stdout, command)


@contextlib.contextmanager
def _running(command: List[str], folder: str, log: str, port: int) -> Iterator[None]:
    with open(log, "wb") as out:
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # its workers end with it
            )
        except OSError as fault:
            raise UserErrorException("{} cannot be started: {}.".format(command[0], fault.strerror)) from None
    try:
        deadline = time.monotonic() + _START_S
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                with open(log, "rb") as file:
                    raise _said(file.read(), command)
            time.sleep(0.1)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _said(output: bytes, command: List[str]) -> RunyardError:
    text = output.decode("utf-8", "replace").strip()
    return UserErrorException(
        "MLflow could not be started over what is to be imported ({}). It said:\n{}\nThe MLflow that wrote it may read "
        "it: --python PATH names a Python that has that one.".format(command[0], text[-2000:])
    )


def _answers(port: int) -> bool:
    try:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open("http://{}:{}/health".format(_HOST, port), timeout=5.0) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])
