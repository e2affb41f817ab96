"""Job processes that were started before they are needed, so that a submission does not wait for one.

They have imported everything and read their input. They end by themselves when that closes, as it does
when the server dies.
"""

import os
import select
import subprocess
import threading
import time
from collections.abc import Callable, Mapping

_PATIENCE_S = 2.0


class Standby:
    """Keeps a few ready processes.

    Args:
        argv: the command; the process reads one line from its input and becomes that job.
        environment: gives all its variables, asked at each start.
        count: how many stand by: so many submissions in one instant find one ready.
    """

    def __init__(self, argv: list[str], environment: Callable[[], Mapping[str, str]], count: int = 1) -> None:
        self._argv = argv
        self._environment = environment
        self._count = count
        self._lock = threading.Lock()
        self._ready: list[subprocess.Popen[bytes]] = []  # the one that has waited longest comes first
        self._closed = False

    def prepare(self) -> None:
        """Starts as many processes as are missing.

        Raises:
            OSError: one cannot be started.
        """
        with self._lock:
            gone = [process for process in self._ready if process.poll() is not None]
            self._ready = [process for process in self._ready if process not in gone]
            while not self._closed and len(self._ready) < self._count:
                self._ready.append(self._start())
        for process in gone:
            _discard(process)

    @property
    def pid(self) -> int | None:
        """Pid of the process that is taken next, None if there is none."""
        with self._lock:
            return self._ready[0].pid if self._ready else None

    def take(self) -> "subprocess.Popen[bytes] | None":
        """A ready process, which is the caller's from now on; None if there is none alive."""
        with self._lock:
            taken = self._ready.pop(0) if self._ready else None
        if taken is None or taken.poll() is None:
            return taken
        _discard(taken)
        return None

    def close(self) -> None:
        """Ends the processes that nobody took. No other is started."""
        with self._lock:
            self._closed = True
            dropped, self._ready = self._ready, []
        for process in dropped:
            _discard(process)

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            self._argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=dict(self._environment()),
            start_new_session=True,
        )


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
