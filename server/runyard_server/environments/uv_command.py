"""Runs ``uv``, its output live to a log and without secrets."""

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from runyard.errors import EnvironmentException
from runyard_server.environments import disk, orphans
from runyard_server.environments.programs import Log, run_to_end

OLDEST_UV = (0, 5)
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
            if disk.is_full(text):
                raise disk.full(f"uv said: {said[-1]}")
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
