"""Files that arrive: written beside their place under a name of their own, verified, then put there at once."""

import errno
import fcntl
import hashlib
import os
import shutil
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

from runyard.errors import StorageFullError

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT)
_PIECE = 256 << 10  # bytes; a few of them stay in a core's own cache between reading, hashing and writing
_HASHED_BESIDE = 8 << 20  # bytes from which a thread is worth its start


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

    def file(self, mode: int = 0o600) -> "IncomingFile":
        """A new file to write."""
        return IncomingFile(self._own / uuid.uuid4().hex, mode, self._sync)

    def require_room(self, size_bytes: int) -> None:
        """Raises StorageFullError where the disk has no room for ``size_bytes`` more."""
        free = shutil.disk_usage(self._own).free
        if size_bytes > free:
            raise StorageFullError(
                f"The server's disk has {free} bytes left and {size_bytes} were sent. "
                f"Free some room below {self._own.parent.parent}, then send again."
            )

    def close(self) -> None:
        """Removes the process's own folder."""
        shutil.rmtree(self._own, ignore_errors=True)
        os.close(self._lock)


class IncomingFile:
    """One file on its way in: ``write`` its bytes, then ``place`` or ``discard`` it."""

    def __init__(self, path: Path, mode: int, sync: bool) -> None:
        self._path = path
        self._sync = sync
        self._hash = hashlib.sha256()
        self._descriptor = -1
        with self._checked():
            self._descriptor = os.open(path, _NEW_FILE, mode)

    def write(self, data: bytes | memoryview) -> None:
        """Adds bytes. Raises StorageFullError and keeps nothing where the disk is full."""
        self._hash.update(data)
        with self._checked():
            _write_all(self._descriptor, memoryview(data))

    def copy(self, source: int, most_bytes: int) -> int:
        """Adds the first ``most_bytes`` of an open file, or what it has; gives their number.

        The descriptor's position neither counts nor changes. A large file is hashed by a thread while this one
        writes: the very bytes that are written, whatever happens to the file meanwhile.

        Raises:
            OSError: it cannot be read.
            StorageFullError: the disk is full; nothing is kept.
        """
        size = 0
        with _Hashing(self._hash, beside=most_bytes >= _HASHED_BESIDE) as hashing:
            while size < most_bytes:
                buffer = hashing.buffer()
                count = os.preadv(source, [buffer[: most_bytes - size]], size)
                if not count:
                    break
                hashing.add(buffer, count)
                with self._checked():
                    _write_all(self._descriptor, buffer[:count])
                size += count
        return size

    def place(self, target: Path, digest: str) -> None:
        """Puts the file at ``target``, replacing what is there.

        Raises:
            DigestRefused: its bytes are not those of ``digest`` (SHA-256 in hex).
            StorageFullError: the disk is full.
        """
        if self._hash.hexdigest() != digest:
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

    def discard(self) -> None:
        """Removes what was written."""
        self._close()
        self._path.unlink(missing_ok=True)

    def digest(self) -> str:
        """SHA-256 in hex of what was written so far."""
        return self._hash.hexdigest()

    def _close(self) -> None:
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


class _Hashing:
    """A few buffers whose bytes are hashed in turn, by a thread of its own where ``beside`` says so."""

    def __init__(self, digest: "hashlib._Hash", beside: bool) -> None:
        self._digest = digest
        self._free: SimpleQueue[memoryview] = SimpleQueue()
        self._full: SimpleQueue[tuple[memoryview, int] | None] = SimpleQueue()
        for _ in range(4 if beside else 1):
            self._free.put(memoryview(bytearray(_PIECE)))
        self._thread = threading.Thread(target=self._work, name="runyard-hash", daemon=True) if beside else None

    def __enter__(self) -> "_Hashing":
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._full.put(None)
            self._thread.join()

    def buffer(self) -> memoryview:
        """One whose bytes are hashed already."""
        return self._free.get()

    def add(self, buffer: memoryview, count: int) -> None:
        """Hashes the first ``count`` bytes; ``buffer`` is offered again after that."""
        if self._thread is not None:
            self._full.put((buffer, count))
        else:
            self._hash(buffer, count)

    def _work(self) -> None:
        while (filled := self._full.get()) is not None:
            self._hash(*filled)

    def _hash(self, buffer: memoryview, count: int) -> None:
        self._digest.update(buffer[:count])
        self._free.put(buffer)


def _write_all(descriptor: int, view: memoryview) -> None:
    while view:
        view = view[os.write(descriptor, view) :]


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
