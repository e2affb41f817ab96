"""What building on this host's disk needs: one builder at a time, a full disk called by its name, and what is in use."""

import errno
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from runyard.errors import EnvironmentException, StorageFullError
from runyard_server.environments.programs import Log

# What was used this recently may be about to be used by a run that has not started its processes yet.
JUST_USED_S = 600.0
_IS_FULL = re.compile(r"no space left on device|disk quota exceeded|os error 28", re.IGNORECASE)


def last_used_at(home: Path, marker: str) -> float:
    """When what lies in ``home`` was used last (seconds since the epoch), else when it was finished, else begun.

    Args:
        marker: the file that is written last when it is built.
    """
    for name in ("used", marker, ""):
        try:
            return (home / name).stat().st_mtime
        except OSError:
            continue
    return 0.0


@contextmanager
def held(path: Path, what: str, log: Log, cancel: threading.Event | None) -> Iterator[None]:
    """Holds the file lock ``path``, across threads and processes; it ends with its holder.

    Args:
        what: said where another one holds it: "<what> by another run; waiting for it".
        cancel: ends the waiting when set.
    Raises:
        EnvironmentException: ``cancel`` was set.
    """
    with full_disk_named():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log(f"{what} by another run; waiting for it")
        _acquire(lock, cancel)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def full_disk_named() -> Iterator[None]:
    """Turns a full disk into its own error, with the cure."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise full(f"It was full at {error.filename}.") from error
        raise


def is_full(said: str) -> bool:
    """Whether what a program said means that the disk is full."""
    return bool(_IS_FULL.search(said))


def full(said: str = "", wanted: str = "for the environment") -> StorageFullError:
    """The error of a full disk, with the cure.

    Args:
        said: what is known beside that.
        wanted: what there was no room for.
    """
    return StorageFullError(
        f"The disk has no room {wanted}. Free some ('runyard env prune' removes environments that are no longer used) "
        f"and submit again. {said}".rstrip()
    )


def _acquire(lock: FileLock, cancel: threading.Event | None) -> None:
    while True:
        try:
            lock.acquire(timeout=0.5, poll_interval=0.05)
            return
        except Timeout:
            if cancel is not None and cancel.is_set():
                raise EnvironmentException("Preparing the environment was cancelled.") from None
