"""Ways to hold a run where it is, from outside and without sleeping, until a fault has happened there."""

import errno
import fcntl
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

PATIENCE_S = 180.0  # on a machine that runs other tests too
_POLL_S = 0.01

Seen = TypeVar("Seen")


def eventually(look: Callable[[], Seen | None], what: str | Callable[[], str], within_s: float = PATIENCE_S) -> Seen:
    """What ``look`` sees, as soon as that is neither None, False nor empty; AssertionError when it takes too long.

    ``what`` was waited for: a text, or what gives one then.
    """
    deadline = time.monotonic() + within_s
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() >= deadline:
            told = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {within_s:.0f} s: {told}; last seen: {seen!r}")
        time.sleep(_POLL_S)


class Gate:
    """Where a witness waits (``witness.wait(name)``). A named pipe: it tells that the script has come."""

    def __init__(self, folder: Path, name: str, rank: int = 0) -> None:
        self.path = folder / f"gate-{name}-{rank}"
        self._writer: int | None = None

    def reached(self, within_s: float = PATIENCE_S) -> None:
        """Waits until the script stands at the gate."""
        self._writer = eventually(self._grasp, f"a script at {self.path.name}", within_s)

    def open(self) -> None:
        """Lets the script go on; harmless where it was killed meanwhile."""
        if self._writer is None:
            self.reached()
        assert self._writer is not None
        os.close(self._writer)
        self._writer = None

    def _grasp(self) -> int | None:
        try:
            return os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as nobody:
            if nobody.errno in (errno.ENXIO, errno.ENOENT):
                return None
            raise


class Hang:
    """A file on a disk that hangs: whoever opens it waits, at most 45 s, until the ``with`` block is left.

    It is a lease (``F_SETLEASE``) on the file, which must exist and be open nowhere; only Linux has them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1

    def __enter__(self) -> "Hang":
        self._descriptor = os.open(self.path, os.O_RDWR)
        fcntl.fcntl(self._descriptor, fcntl.F_SETSIG, signal.SIGURG)  # told by a signal that is ignored by default
        fcntl.fcntl(self._descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        return self

    def reached(self) -> None:
        """Waits until somebody hangs on it."""
        eventually(self._is_wanted, f"somebody who opens {self.path}")

    def release(self) -> None:
        """Lets whoever waits, and whoever comes, go on."""
        if self._descriptor >= 0:
            os.close(self._descriptor)  # a lease ends with its file
            self._descriptor = -1

    def _is_wanted(self) -> bool:
        return fcntl.fcntl(self._descriptor, fcntl.F_GETLEASE) != fcntl.F_WRLCK

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
