"""What may be asked of the object store: what it lacks, and to take or give bytes."""

import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence

from runyard.errors import UserErrorException
from runyard.protocol.files import FileEntry, Manifest
from runyard_server.artifacts.handover import Handover, Invitation, Keeper
from runyard_server.artifacts.receive import ObjectSink, receive_file, receive_pack
from runyard_server.artifacts.send import Outgoing
from runyard_server.artifacts.store import ObjectStore, checked_digest
from runyard_server.domain.paths import relative

MOST_FILES = 200_000


class ObjectService:
    """Objects, by digest (``runyard.protocol.digest``)."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._handover = Handover()

    def missing(self, digests: Iterable[str]) -> Sequence[str]:
        """Those of ``digests`` that the store lacks.

        Raises:
            UserErrorException: something that is no digest.
        """
        return self._store.missing(checked_digest(digest) for digest in digests)

    async def receive(self, body: AsyncIterator[bytes], length: int | None) -> int:
        """Takes a pack of objects named by digest; gives their number.

        Args:
            length: the body's size in bytes, where the sender said it.
        Raises:
            StorageFullError: it does not fit on the disk.
            DigestMismatchError: some have other bytes than their names say; those are not kept.
        """
        self._store.require_room(length or 0)
        return await receive_pack(body, ObjectSink(self._store))

    async def take(self, body: AsyncIterator[bytes], length: int | None) -> tuple[str, int]:
        """Takes one content of any size; gives its digest and its size in bytes.

        Args:
            length: the body's size in bytes, where the sender said it.
        Raises:
            StorageFullError: it does not fit on the disk.
        """
        self._store.require_room(length or 0)
        return await receive_file(body, self._store, length or 0)

    def expect(self, keep: Keeper | None = None) -> Invitation | None:
        """Lets a process of this machine bring open files. None where that cannot be.

        Args:
            keep: takes each of them; by default their bytes become objects.
        """
        return self._handover.expect(keep or self._keep)

    def lend(self, entries: Sequence[Outgoing]) -> Invitation | None:
        """Lets a process of this machine fetch the files of a pack, opened for reading, in their order."""
        paths = [entry.path for entry in entries if entry.path is not None]
        return self._handover.lend(paths) if len(paths) == len(entries) else None

    def close(self) -> None:
        """Hangs up on who brings or fetches files; what came whole is kept."""
        self._handover.close()

    def _keep(self, _name: str, source: int) -> tuple[str, int]:
        return self._store.add(source, sys.maxsize)

    def outgoing(self, entries: Iterable[FileEntry]) -> list[Outgoing]:
        """Files as entries of a pack, named by path.

        Raises:
            ServiceException: the store has lost one.
        """
        return [Outgoing(entry.path, entry.size, self._store.path(entry.digest)) for entry in entries]


def checked_manifest(manifest: Manifest) -> dict[str, int]:
    """Checks a manifest from a client; gives the size in bytes of each digest.

    Raises:
        PathRefusedError: a path that is not plain and relative.
        UserErrorException: too many files, a path listed twice or lying inside another one's file, a
            negative size, one digest with two sizes.
    """
    if len(manifest.files) > MOST_FILES:
        raise UserErrorException(
            f"At most {MOST_FILES:,} files are taken at once; these are {len(manifest.files):,}. "
            "Leave some out, or pack them into archives."
        )
    sizes: dict[str, int] = {}
    for entry in manifest.files:
        relative(entry.path)
        checked_digest(entry.digest)
        if entry.size < 0 or sizes.setdefault(entry.digest, entry.size) != entry.size:
            raise UserErrorException(f"The size {entry.size} of {entry.path!r} cannot be. List the files again.")
    check_tree([entry.path for entry in manifest.files])
    return sizes


def check_tree(paths: Sequence[str]) -> None:
    """Raises UserErrorException where ``paths`` cannot all be files of one tree."""
    files = set(paths)
    if len(files) != len(paths):
        twice = Counter(paths).most_common(1)[0][0]
        raise UserErrorException(f"The file {twice!r} is listed twice. Each path names one file.")
    checked: set[str] = set()
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent and parent not in checked:
            if parent in files:
                raise UserErrorException(
                    f"{parent!r} is listed as a file, and {path!r} needs it as a folder. Rename one of them."
                )
            checked.add(parent)
            parent = parent.rpartition("/")[0]
