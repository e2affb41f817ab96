"""Job processes that were started before they are needed, so that a submission does not wait for one.

They have imported everything and read their input. They end by themselves when that closes, as it does
when the server dies. Few stand by while little happens; after a crowd has come, as many as it lacked, for a while.
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
        count: how many stand by while little happens: so many submissions in one instant find one ready.
        most: how many stand by after a crowd.
        rest_s: seconds without a submission after which those beyond ``count`` end.
    """

    def __init__(
        self,
        argv: list[str],
        environment: Callable[[], Mapping[str, str]],
        count: int = 1,
        most: int = 8,
        rest_s: float = 60.0,
    ) -> None:
        self._argv = argv
        self._environment = environment
        self._count = self._wanted = count
        self._most = max(count, most)
        self._rest_s = rest_s
        self._missed = 0  # submissions that found none since the last ``prepare``
        self._rest: threading.Timer | None = None
        self._lock = threading.Lock()
        self._ready: list[subprocess.Popen[bytes]] = []  # the one that has waited longest comes first
        self._closed = False

    def prepare(self) -> None:
        """Starts as many processes as are missing, and as many more as submissions found none since the last call.

        Raises:
            OSError: one cannot be started.
        """
        with self._lock:
            gone = [process for process in self._ready if process.poll() is not None]
            self._ready = [process for process in self._ready if process not in gone]
            self._wanted = min(self._most, self._wanted + self._missed)
            self._missed = 0
            self._rest_later()
            while not self._closed and len(self._ready) < self._wanted:
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
            self._missed += taken is None
        if taken is None or taken.poll() is None:
            return taken
        _discard(taken)
        return None

    def relax(self) -> None:
        """Ends the processes beyond ``count``: no crowd has come for a while."""
        with self._lock:
            self._wanted, self._rest = self._count, None
            dropped, self._ready = self._ready[self._count :], self._ready[: self._count]
        for process in dropped:
            _discard(process)

    def close(self) -> None:
        """Ends the processes that nobody took. No other is started."""
        with self._lock:
            self._closed = True
            self._rest_later()
            dropped, self._ready = self._ready, []
        for process in dropped:
            _discard(process)

    def _rest_later(self) -> None:
        """Puts the end of a crowd off, as ``prepare`` is called after each submission."""
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if self._wanted > self._count and not self._closed:
            self._rest = threading.Timer(self._rest_s, self.relax)
            self._rest.name, self._rest.daemon = "runyard-standby", True
            self._rest.start()

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
