"""Runs ``uv``, its output live to a log and without secrets."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from runyard.errors import EnvironmentException, StorageFullError
from runyard_server.environments import orphans

Log = Callable[[str], None]

OLDEST_UV = (0, 5)
_CREDENTIALS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.\-]*://)[^/@\s]+@")
_SECRET_PARAMETER = re.compile(r"([?&](?:token|key|password|secret|sig|access_token)=)[^&\s]+", re.IGNORECASE)
_TOKEN_IN_PATH = re.compile(r"(://[^\s/]+/t/)[^/\s]+")  # as conda channels have it
_NO_SPACE = re.compile(r"no space left on device|disk quota exceeded|os error 28", re.IGNORECASE)
_NO_NETWORK = re.compile(
    r"error sending request|dns error|connection refused|connection reset|network is unreachable"
    r"|operation timed out|tcp connect error|network connectivity is disabled|could not resolve host"
    r"|http status server error|HTTP status client error \((?:408|425|429)|error decoding response body",
    re.IGNORECASE,
)
PATIENT_RETRIES = "5"  # some 30 s in all: a registry that is started anew is back by then; uv's own 3 take 8 s
# Settings of whatever the server itself runs in must not lead uv astray.
FOREIGN_VARIABLES = (
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "CONDA_DEFAULT_ENV",
    "PYTHONPATH",
    "PYTHONHOME",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "UV_PROJECT_ENVIRONMENT",
    "UV_REQUIRE_HASHES",
    "UV_EXCLUDE_NEWER",
    "UV_PROJECT",
    "UV_WORKING_DIR",
)


def patience() -> dict[str, str]:
    """Variables for a uv that has no other way than the network; the user's own choice counts more."""
    return {"UV_HTTP_RETRIES": os.environ.get("UV_HTTP_RETRIES", PATIENT_RETRIES)}


def masked(text: str) -> str:
    """``text`` with the user and password of addresses, and secret query parameters and tokens, as ``****``."""
    text = _TOKEN_IN_PATH.sub(r"\1****", _CREDENTIALS.sub(r"\1****@", text))
    return _SECRET_PARAMETER.sub(r"\1****", text)


class UvFailed(Exception):
    """A uv command ended with an error; ``output`` is what it wrote, secrets masked."""

    def __init__(self, command: str, output: str, exit_code: int) -> None:
        super().__init__(output or f"{command} ended with exit code {exit_code}")
        self.command = command
        self.output = output
        self.exit_code = exit_code

    @property
    def is_network(self) -> bool:
        """Whether the package registry could not be reached, or is not able to answer now."""
        return bool(_NO_NETWORK.search(self.output))


class Uv:
    """The ``uv`` program. Safe to use from several threads.

    Args:
        path: the program; None finds it: that of the ``uv`` package beside the server, else on PATH.
        directory: where it runs, so that no project's settings are picked up.
    """

    def __init__(self, path: str | None, directory: Path) -> None:
        self._given = path
        self._directory = directory
        self._found: str | None = None

    @property
    def path(self) -> str:
        """The program.

        Raises:
            EnvironmentException: no ``uv`` here, one that does not run, or one that is too old.
        """
        if self._found is None:
            path = self._given or _beside_the_server() or shutil.which("uv")
            if path is None:
                raise EnvironmentException(
                    "Environments are built with uv, which is not installed here: it came with the server and is gone. "
                    f"Install it with: {sys.executable} -m pip install uv (or put a uv on PATH), and submit again."
                )
            _check_version(path)
            self._found = path
        return self._found

    def run(
        self,
        arguments: Sequence[str],
        log: Log,
        variables: Mapping[str, str] | None = None,
        cancel: threading.Event | None = None,
    ) -> str:
        """Runs ``uv`` to its end and gives what it wrote on standard output.

        Args:
            log: gets each line of standard error when it is written.
            cancel: ends the program when set.
        Raises:
            UvFailed: it ended with an error.
            StorageFullError: the disk has no room.
            EnvironmentException: no usable ``uv``, or ``cancel`` was set.
        """
        process = self._start(arguments, variables or {})
        output, said, exit_code = run_to_end(process, log, cancel)
        if exit_code != 0:
            text = "\n".join(said)
            if _NO_SPACE.search(text):
                raise StorageFullError(
                    "The disk has no room for the environment. Free some ('runyard env prune' removes "
                    f"environments that are no longer used) and submit again. uv said: {said[-1]}"
                )
            raise UvFailed(f"uv {arguments[0]}", text, exit_code)
        return output

    def _start(self, arguments: Sequence[str], variables: Mapping[str, str]) -> "subprocess.Popen[str]":
        self._directory.mkdir(parents=True, exist_ok=True)
        if self._found is not None and not os.access(self._found, os.X_OK):
            self._found = None  # uv was updated, moved or removed while the server ran
        return subprocess.Popen(
            [self.path, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd=self._directory,
            env=self._environment(variables),
            start_new_session=True,
        )

    def _environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if name not in FOREIGN_VARIABLES}
        environment.setdefault("UV_HTTP_TIMEOUT", "180")
        environment.update({"NO_COLOR": "1", "UV_NO_PROGRESS": "1", "PYTHONUNBUFFERED": "1"})
        environment.update({**orphans.mark(), **variables})
        return environment


def _beside_the_server() -> str | None:
    try:
        from uv import find_uv_bin  # may be absent where a system's own uv serves
    except ImportError:
        return None
    try:
        return str(find_uv_bin())
    except FileNotFoundError:
        return None


def _check_version(path: str) -> None:
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60, check=False)
    except OSError as error:
        raise EnvironmentException(f"uv at {path} cannot be run: {error}. Install it with: pip install uv") from error
    match = re.match(r"uv (\d+)\.(\d+)", answer.stdout)
    if match is None:
        said = (answer.stderr or answer.stdout).strip()[:300]
        raise EnvironmentException(f"{path} does not answer as uv: {said!r}. Install it with: pip install uv")
    if (int(match[1]), int(match[2])) < OLDEST_UV:
        oldest = ".".join(str(part) for part in OLDEST_UV)
        raise EnvironmentException(
            f"uv at {path} is {match[1]}.{match[2]}; {oldest} is the oldest that serves. "
            "Update it with: pip install --upgrade uv"
        )


def run_to_end(
    process: "subprocess.Popen[str]", log: Log, cancel: threading.Event | None, entry: str | None = None
) -> tuple[str, list[str], int]:
    """What a program that leads its own session wrote on standard output and standard error, and its exit code.

    Args:
        log: gets each line of standard error when it is written.
        cancel: kills the program's session when set.
        entry: for its standard input, if that is a pipe.
    Raises:
        EnvironmentException: ``cancel`` was set.
    """
    said: list[str] = []
    reader = threading.Thread(target=_read_errors, args=(process, log, said), daemon=True)
    reader.start()
    ended = threading.Event()
    if cancel is not None:
        threading.Thread(target=end_when_set, args=(process, cancel, ended), daemon=True).start()
    assert process.stdout is not None
    with process.stdout as stream:
        if process.stdin is not None:
            try:
                with process.stdin as sink:
                    sink.write(entry or "")
            except BrokenPipeError:
                pass  # it has ended; its exit code says the rest
        output = stream.read()
    exit_code = process.wait()
    ended.set()
    reader.join()
    if cancel is not None and cancel.is_set():
        raise EnvironmentException("Preparing the environment was cancelled.")
    return output, said, exit_code


def _read_errors(process: "subprocess.Popen[str]", log: Log, said: list[str]) -> None:
    """Gives each line of standard error to ``log`` and ``said``, secrets masked, until the process ends."""
    assert process.stderr is not None
    with process.stderr as stream:
        for raw in stream:
            line = masked(raw.rstrip())
            if line:
                said.append(line)
                log(line)


def end_when_set(process: "subprocess.Popen[str]", cancel: threading.Event, ended: threading.Event) -> None:
    """Kills the session of ``process`` when ``cancel`` is set before ``ended`` is."""
    while not ended.is_set():
        if cancel.wait(0.2):
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it ended by itself
            return
