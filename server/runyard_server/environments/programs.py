"""Runs a program that has a part in an environment, its output live to a log and without secrets."""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable
from typing import IO

from runyard.errors import EnvironmentException

Log = Callable[[str], None]

_CREDENTIALS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.\-]*://)[^/@\s]+@")
_SECRET_PARAMETER = re.compile(r"([?&](?:token|key|password|secret|sig|access_token)=)[^&\s]+", re.IGNORECASE)
_TOKEN_IN_PATH = re.compile(r"(://[^\s/]+/t/)[^/\s]+")  # as conda channels have it


def masked(text: str) -> str:
    """``text`` with the user and password of addresses, and secret query parameters and tokens, as ``****``."""
    text = _TOKEN_IN_PATH.sub(r"\1****", _CREDENTIALS.sub(r"\1****@", text))
    return _SECRET_PARAMETER.sub(r"\1****", text)


def run_to_end(
    process: "subprocess.Popen[str]", log: Log, cancel: threading.Event | None, entry: str | None = None
) -> tuple[str, list[str], int]:
    """What a program that leads its own session wrote on standard output and standard error, and its exit code.

    Args:
        process: its standard output is a pipe. Where standard error goes there too, what comes out of it is said, and
            the output is "".
        log: gets each line of standard error when it is written.
        cancel: kills the program's session when set.
        entry: for its standard input, if that is a pipe.
    Raises:
        EnvironmentException: ``cancel`` was set.
    """
    said: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=_read_lines, args=(process.stderr or process.stdout, log, said), daemon=True)
    reader.start()
    ended = threading.Event()
    if cancel is not None:
        threading.Thread(target=_end_when_set, args=(process, cancel, ended), daemon=True).start()
    if process.stdin is not None:
        try:
            with process.stdin as sink:
                sink.write(entry or "")
        except BrokenPipeError:
            pass  # it has ended; its exit code says the rest
    output = ""
    if process.stderr is not None:
        with process.stdout as stream:
            output = stream.read()
    exit_code = process.wait()
    ended.set()
    reader.join()
    if cancel is not None and cancel.is_set():
        raise EnvironmentException("Preparing the environment was cancelled.")
    return output, said, exit_code


def _read_lines(stream: IO[str], log: Log, said: list[str]) -> None:
    """Gives each line to ``log`` and ``said``, secrets masked, until the stream ends."""
    with stream:
        for raw in stream:
            line = masked(raw.rstrip())
            if line:
                said.append(line)
                log(line)


def _end_when_set(process: "subprocess.Popen[str]", cancel: threading.Event, ended: threading.Event) -> None:
    """Kills the session of ``process`` when ``cancel`` is set before ``ended`` is."""
    while not ended.is_set():
        if cancel.wait(0.2):
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it ended by itself
            return


def cores() -> int:
    """How many programs may compute at a time."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
