"""One job process that was started before it is needed, so that a submission does not wait for it.

It has imported everything and reads its input. It ends by itself when that closes, as it does when
the server dies.
"""

import os
import select
import subprocess
import threading
import time
from collections.abc import Callable, Mapping

_PATIENCE_S = 2.0


class Standby:
    """Keeps at most one ready process.

    Args:
        argv: the command; the process reads one line from its input and becomes that job.
        environment: gives all its variables, asked at each start.
    """

    def __init__(self, argv: list[str], environment: Callable[[], Mapping[str, str]]) -> None:
        self._argv = argv
        self._environment = environment
        self._lock = threading.Lock()
        self._ready: subprocess.Popen[bytes] | None = None
        self._closed = False

    def prepare(self) -> None:
        """Starts a process if none is ready.

        Raises:
            OSError: it cannot be started.
        """
        with self._lock:
            if self._closed or (self._ready is not None and self._ready.poll() is None):
                return
            self._drop()
            self._ready = subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=dict(self._environment()),
                start_new_session=True,
            )

    @property
    def pid(self) -> int | None:
        """The ready process's pid, None if there is none."""
        with self._lock:
            return None if self._ready is None else self._ready.pid

    def take(self) -> "subprocess.Popen[bytes] | None":
        """The ready process, which is the caller's from now on; None if there is none alive."""
        with self._lock:
            taken, self._ready = self._ready, None
        if taken is None or taken.poll() is None:
            return taken
        _discard(taken)
        return None

    def close(self) -> None:
        """Ends the process that nobody took. No other is started."""
        with self._lock:
            self._closed = True
            self._drop()

    def _drop(self) -> None:
        dropped, self._ready = self._ready, None
        if dropped is not None:
            _discard(dropped)


def hand_over(process: "subprocess.Popen[bytes]", line: bytes) -> bool:
    """Gives a ready process its assignment and closes its input. False if it does not take it: it is ended then."""
    assert process.stdin is not None
    descriptor = process.stdin.fileno()
    os.set_blocking(descriptor, False)
    deadline = time.monotonic() + _PATIENCE_S
    left = memoryview(line)
    try:
        while left:
            _, writable, _ = select.select([], [descriptor], [], max(0.0, deadline - time.monotonic()))
            if not writable:
                _discard(process)
                return False
            left = left[os.write(descriptor, left) :]
    except BrokenPipeError:
        _discard(process)
        return False
    process.stdin.close()
    return True


def _discard(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
