"""Files that arrive: written beside their place under a name of their own, verified, then put there at once."""

import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runyard.copying import copied
from runyard.digests import is_sha256_of_large, of_file
from runyard.errors import StorageFullError
from runyard.hashing import Hashing

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT)


class DigestRefused(Exception):
    """The bytes are not those that the digest says; nothing of them is kept."""


class Incoming:
    """A folder for half-written files, in the same file system as where they will lie.

    Each process has a folder of its own in it, locked while the process lives: what a killed one
    left is removed by the next, what a living one writes is never touched.

    Args:
        sync: whether a file's bytes are on the disk before it is put in place. Without it (the
            default) a killed process loses nothing, but after a power failure a file that was just
            written can be short; ``FolderStore`` notices that by its size.
    """

    def __init__(self, folder: Path, sync: bool = False) -> None:
        self._sync = sync
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_abandoned(folder)
        self._own = folder / uuid.uuid4().hex
        self._own.mkdir(mode=0o700)
        self._lock = os.open(self._own, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def file(self, size_bytes: int = 0, mode: int = 0o600) -> "IncomingFile":
        """A new file to write ``size_bytes`` to; where they are not known, a large one is read again for its digest."""
        return IncomingFile(self._own / uuid.uuid4().hex, size_bytes, mode, self._sync)

    def require_room(self, size_bytes: int) -> None:
        """Raises StorageFullError where the disk has no room for ``size_bytes`` more."""
        free = shutil.disk_usage(self._own).free
        if size_bytes > free:
            raise StorageFullError(
                f"The server's disk has {free} bytes left and {size_bytes} were sent. "
                f"Free some room below {self._own.parent.parent}, then send again."
            )

    def close(self) -> None:
        """Removes the process's own folder. Again, it does nothing: the number may be another file's by then."""
        shutil.rmtree(self._own, ignore_errors=True)
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)


class IncomingFile:
    """One file on its way in: ``write`` its bytes or ``copy`` them, then ``place`` or ``discard`` it."""

    def __init__(self, path: Path, size_bytes: int, mode: int, sync: bool) -> None:
        self._path = path
        self._sync = sync
        self._hashing: Hashing | None = None
        self._announced = size_bytes
        self._digest: str | None = None
        self._descriptor = -1
        with self._checked():
            self._descriptor = os.open(path, _NEW_FILE, mode)

    def write(self, data: bytes | memoryview) -> None:
        """Adds bytes, which must not change any more. Raises StorageFullError and keeps nothing where the disk is full."""
        if self._hashing is None:
            self._hashing = Hashing(self._announced)
        view = memoryview(data)
        self._hashing.add(view)
        with self._checked():
            while view:
                view = view[os.write(self._descriptor, view) :]

    def copy(self, source: int, most_bytes: int) -> int:
        """Writes the first ``most_bytes`` of an open file, or what it has; gives their number.

        The descriptor's position neither counts nor changes. What is hashed are the very bytes that are written,
        whatever happens to the file meanwhile.

        Raises:
            OSError: it cannot be read.
            StorageFullError: the disk is full; nothing is kept.
        """
        with self._checked():
            self._digest, size = copied(source, self._write_at, most_bytes=most_bytes)
            os.ftruncate(self._descriptor, size)
        return size

    def place(self, target: Path, digest: str) -> None:
        """Puts the file at ``target``, replacing what is there.

        Raises:
            DigestRefused: its bytes are not those of ``digest``.
            StorageFullError: the disk is full.
        """
        if self.digest() != digest and not is_sha256_of_large(digest, str(self._path)):
            self.discard()
            raise DigestRefused(digest)
        with self._checked():
            if self._sync:
                os.fdatasync(self._descriptor)
            self._close()
            try:
                os.replace(self._path, target)
            except FileNotFoundError:
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(self._path, target)

    def set_aside(self) -> Path:
        """Closes it without putting it anywhere: the file that holds its bytes until somebody removes it, or the process
        ends.
        """
        self._close()
        return self._path

    def discard(self) -> None:
        """Removes what was written."""
        self._close()
        self._path.unlink(missing_ok=True)

    def digest(self) -> str:
        """The digest of what was written; nothing can be added to it."""
        if self._digest is None:
            self._digest = (self._hashing or Hashing(0)).digest() or of_file(str(self._path))
        return self._digest

    def _write_at(self, view: memoryview, offset: int) -> None:
        # What fails here is discarded by the thread that waits for all of them: the others write to the descriptor.
        while view:
            count = os.pwrite(self._descriptor, view, offset)
            view, offset = view[count:], offset + count

    def _close(self) -> None:
        if self._hashing is not None:
            self._hashing.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @contextmanager
    def _checked(self) -> Iterator[None]:
        try:
            yield
        except OSError as failed:
            self.discard()
            if failed.errno in _FULL:
                raise StorageFullError(
                    f"The server's disk is full: nothing of the file was kept. Free some room below "
                    f"{self._path.parent.parent.parent}, then send again."
                ) from failed
            raise


def _remove_abandoned(folder: Path) -> None:
    for left in folder.iterdir():
        if not left.is_dir():
            left.unlink(missing_ok=True)
            continue
        try:
            lock = os.open(left, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            shutil.rmtree(left, ignore_errors=True)
        finally:
            os.close(lock)
