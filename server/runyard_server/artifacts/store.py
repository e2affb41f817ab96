"""The object store: bytes kept under their own digest, each content once."""

import os
import re
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from runyard.digests import is_of_file, of_file
from runyard.errors import ServiceException, UserErrorException
from runyard_server.artifacts.locks import held
from runyard_server.artifacts.writing import Incoming, IncomingFile

CLEANING_LOCK = "cleaning.lock"  # held by a clean-up alone, or shared by backups
_RENEWED_S = 60.0  # an object that is younger need not be renewed
_DIGEST = re.compile(r"[0-9a-f]{64}")


def checked_digest(digest: str) -> str:
    """Returns ``digest`` if it has a digest's form; raises UserErrorException otherwise."""
    if not _DIGEST.fullmatch(digest):
        raise UserErrorException(f"{digest[:80]!r} is no digest: give 64 lower-case hex digits.")
    return digest


class ObjectStore(ABC):
    """Keeps objects by digest. An object is whole or absent and never changes. Safe between threads."""

    @abstractmethod
    def has(self, digests: Iterable[str]) -> set[str]:
        """Those of ``digests`` that are here."""

    @abstractmethod
    def size(self, digest: str) -> int | None:
        """The object's size in bytes, None where it is not here."""

    @abstractmethod
    def begin(self, size_bytes: int = 0) -> IncomingFile:
        """A new object to write, of so many bytes where that is known; ``keep`` ends it."""

    @abstractmethod
    def keep(self, incoming: IncomingFile, digest: str) -> None:
        """Puts what was written under ``digest``. Raises DigestRefused where that is not its digest."""

    def keep_new(self, incoming: IncomingFile, size: int) -> str:
        """Puts a file that was written in under its own digest, which it gives; or leaves it to what is here already."""
        digest = incoming.digest()
        if self.size(digest) == size and self.renew(digest):
            incoming.discard()
        else:
            self.keep(incoming, digest)
        return digest

    @abstractmethod
    def add(self, source: int, most_bytes: int) -> tuple[str, int]:
        """Copies at most ``most_bytes`` of an open file in; gives their digest and their number.

        Raises:
            OSError: it cannot be read.
            StorageFullError: it does not fit on the disk.
        """

    def add_file(self, path: Path) -> tuple[str, int]:
        """Copies a file of this machine in; gives its digest and its size in bytes. Raises as ``add``."""
        source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return self.add(source, sys.maxsize)
        finally:
            os.close(source)

    @abstractmethod
    def path(self, digest: str) -> Path:
        """A local file with the object's bytes, to be read only.

        Raises:
            ServiceException: it is not here.
        """

    @abstractmethod
    def drop(self, digest: str) -> None:
        """Removes an object that was found damaged."""

    @abstractmethod
    def require_room(self, size_bytes: int) -> None:
        """Raises StorageFullError where ``size_bytes`` more do not fit."""

    @abstractmethod
    def renew(self, digest: str) -> bool:
        """Counts an object as new, so that no clean-up removes it within its grace time. False where it is not here.

        Call it wherever somebody is told that the store has an object.
        """

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Those of ``digests`` that are not here, each once, in order."""
        wanted = list(dict.fromkeys(digests))
        here = self.has(wanted)
        return [digest for digest in wanted if digest not in here or not self.renew(digest)]

    def missing_or_short(self, sizes: dict[str, int]) -> list[str]:
        """Digests of ``sizes`` (digest to bytes) that are not here whole.

        An object of another size than it must have was cut short by a power failure: it is dropped.
        """
        lacking = []
        for digest, size in sizes.items():
            found = self.size(checked_digest(digest))
            if found is not None and found != size:
                self._drop_if_damaged(digest)
                found = self.size(digest)
                if found is not None:
                    raise UserErrorException(
                        f"The object {digest} has {found} bytes, not {size}: the list of files is wrong. Make it anew."
                    )
            if found is None or not self.renew(digest):
                lacking.append(digest)
        return lacking

    def _drop_if_damaged(self, digest: str) -> None:
        if not is_digest_of(digest, self.path(digest)):
            self.drop(digest)


class FolderStore(ObjectStore):
    """A store in a folder of this machine: ``<root>/ab/cdef...``, half-written files in ``<root>/incoming``.

    Args:
        sync: see ``Incoming``.
    """

    def __init__(self, root: Path, sync: bool = False) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root = str(root)
        self._incoming = Incoming(root / "incoming", sync)
        self._removing = threading.Lock()

    def has(self, digests: Iterable[str]) -> set[str]:
        return {digest for digest in digests if os.path.exists(self._place(checked_digest(digest)))}

    def size(self, digest: str) -> int | None:
        try:
            return os.stat(self._place(digest)).st_size
        except FileNotFoundError:
            return None

    def begin(self, size_bytes: int = 0) -> IncomingFile:
        return self._incoming.file(size_bytes)

    def keep(self, incoming: IncomingFile, digest: str) -> None:
        incoming.place(Path(self._place(digest)), digest)

    def add(self, source: int, most_bytes: int) -> tuple[str, int]:
        most_bytes = min(most_bytes, os.fstat(source).st_size)
        self.require_room(most_bytes)
        incoming = self.begin()
        try:
            size = incoming.copy(source, most_bytes)
            return self.keep_new(incoming, size), size
        except BaseException:
            incoming.discard()
            raise

    def path(self, digest: str) -> Path:
        place = Path(self._place(checked_digest(digest)))
        if not place.is_file():
            raise ServiceException(
                f"The object {digest} is gone from the server's store. Was the folder {self._root} changed by hand?"
            )
        return place

    def drop(self, digest: str) -> None:
        Path(self._place(digest)).unlink(missing_ok=True)

    def renew(self, digest: str) -> bool:
        place, now = self._place(digest), time.time()
        try:
            if os.stat(place).st_mtime > now - _RENEWED_S:
                return True
            with self._removing:
                os.utime(place, (now, now))
        except FileNotFoundError:
            return False
        return True

    @contextmanager
    def sweeping(self) -> Iterator[None]:
        """While objects are removed. Raises UserErrorException where a backup reads them."""
        refused = UserErrorException("A backup of this workspace goes on. Clean up when it has ended.")
        with held(Path(self._root, CLEANING_LOCK), refused):
            yield

    def objects(self) -> Iterator[tuple[str, int, float]]:
        """Digest, size in bytes and time (of its coming or renewal) of each object."""
        for prefix in sorted(os.listdir(self._root)):
            if len(prefix) != 2:
                continue
            with os.scandir(f"{self._root}/{prefix}") as entries:
                for entry in entries:
                    digest = prefix + entry.name
                    try:
                        state = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if _DIGEST.fullmatch(digest):
                        yield digest, state.st_size, state.st_mtime

    def remove_older(self, digest: str, before: float) -> bool:
        """Removes an object unless it came, or was renewed, since ``before``; whether it is gone."""
        place = self._place(digest)
        with self._removing:  # a renewal comes before this, and is seen, or after it, and finds nothing
            try:
                if os.stat(place).st_mtime >= before:
                    return False
                os.unlink(place)
            except FileNotFoundError:
                pass
        return True

    def require_room(self, size_bytes: int) -> None:
        self._incoming.require_room(size_bytes)

    def close(self) -> None:
        """Removes what was being written."""
        self._incoming.close()

    def _place(self, digest: str) -> str:
        return f"{self._root}/{digest[:2]}/{digest[2:]}"


def digest_of(path: Path) -> str:
    """The digest of a local file. Raises OSError where it cannot be read."""
    return of_file(str(path))


def is_digest_of(digest: str, path: Path) -> bool:
    """Whether ``digest`` names the bytes of a local file, by the present rule or by that of before."""
    return is_of_file(digest, str(path))
