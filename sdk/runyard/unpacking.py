"""Packs and lent files on their way in: every file is written inside its folder, verified, whole or not at all."""

import errno
import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Mapping, Sequence, Set

from runyard.copying import copied
from runyard.digests import is_sha256_of_large
from runyard.errors import PathRefusedError, ServiceException, StorageFullError, UserErrorException
from runyard.handover import fetch
from runyard.hashing import Hashing
from runyard.progress import Progress
from runyard.protocol.digest import PIECE
from runyard.protocol.files import MANIFEST_ENTRY, FileEntry, Manifest, manifest_id
from runyard.protocol.pack import PackReader
from runyard.transport.base import Answer, Transport

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_BLOCK = 256 << 10  # bytes; what is read and written stays in a core's own cache
_MOST_MANIFEST_BYTES = 512 << 20  # of 200,000 files, with paths of 1,024 bytes written as escapes


def file_entries(listed: Any) -> List[FileEntry]:
    """File entries from their JSON. Raises ServiceException for what is none."""
    try:
        return [
            FileEntry(str(item["path"]), int(item["size"]), str(item["digest"]), bool(item.get("executable")))
            for item in listed
        ]
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as fault:
        raise ServiceException("The server's list of files is none ({!r}).".format(fault)) from fault


def _manifest(reader: PackReader) -> List[FileEntry]:
    """The list of files that is the present entry."""
    if reader.left > _MOST_MANIFEST_BYTES:
        raise ServiceException("The server's list of files has {} bytes, which cannot be.".format(reader.left))
    text = b"".join(reader.chunks())
    try:
        listed = json.loads(text)["files"]
    except (ValueError, LookupError, TypeError, RecursionError) as fault:
        raise ServiceException("The server's list of files is none ({!r}).".format(fault)) from fault
    return file_entries(listed)


class Folder:
    """A local folder that files are written into; nothing lands outside it."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._real = os.path.realpath(directory)
        self._checked: Set[str] = set()

    def target(self, path: str) -> str:
        """The local path for ``path``; raises PathRefusedError (see ``contained``)."""
        parts = path.split("/")
        is_plain = all(part not in ("", ".", "..") for part in parts) and not any(
            letter == "\\" or letter < " " or letter == "\x7f" for letter in path
        )
        if not is_plain or path.startswith("~") or path[1:2] == ":":
            raise PathRefusedError(
                "The server named a file {!r}, which would leave {}. It is not written: this server or its data "
                "cannot be trusted.".format(path[:200], self._directory)
            )
        parent = os.path.join(self._directory, *parts[:-1])
        if parent not in self._checked:
            real = os.path.realpath(parent)
            if real != self._real and not real.startswith(self._real.rstrip(os.sep) + os.sep):
                raise PathRefusedError(
                    "{!r} is not written: {} is a link out of {}. Remove the link, or choose another folder.".format(
                        path[:200], parent, self._directory
                    )
                )
            self._checked.add(parent)
        return os.path.join(parent, parts[-1])


class FileWriter:
    """Writes files to their places: whole and verified, or not at all."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._made: Set[str] = set()
        self._small = memoryview(bytearray(_BLOCK))
        self._buffers: List[memoryview] = []  # that are free; threads that hash give them back

    def unpack(self, reader: PackReader, target: str, digest: str, executable: bool = False) -> None:
        """Writes a pack's present entry. ``digest`` "" where none is known."""
        with self._file(target, digest, executable) as new:
            new.digest = self._received(reader, new.descriptor, target)

    def copy(self, lent: int, target: str, digest: str, executable: bool = False) -> None:
        """Writes the bytes of an open file. ``digest`` as above."""

        def write(view: memoryview, offset: int) -> None:
            with _local(target):
                while view:
                    count = os.pwrite(new.descriptor, view, offset)
                    view, offset = view[count:], offset + count

        with self._file(target, digest, executable) as new:
            new.digest, size = copied(lent, write, lambda count: self._progress(count, 0))
            os.ftruncate(new.descriptor, size)

    @contextmanager
    def _file(self, target: str, digest: str, executable: bool) -> Iterator["_NewFile"]:
        folder = os.path.dirname(target) or "."
        temporary = os.path.join(folder, ".runyard-{}.part".format(os.urandom(8).hex()))
        with _local(target):
            if folder not in self._made:
                os.makedirs(folder, exist_ok=True)
                self._made.add(folder)
            new = _NewFile(os.open(temporary, _NEW_FILE, 0o777 if executable else 0o666))
        try:
            try:
                yield new
            finally:
                os.close(new.descriptor)
            if digest and new.digest != digest and not is_sha256_of_large(digest, temporary):
                raise ServiceException(
                    "What came for {} is not what its digest says ({} instead of {}). It is not kept.".format(
                        target, new.digest[:12], digest[:12]
                    )
                )
            with _local(target):
                os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
        self._progress(0, 1)

    def _received(self, reader: PackReader, descriptor: int, target: str) -> str:
        """Writes the entry's bytes and gives their digest. A large one is hashed by threads beside."""
        if reader.left <= _BLOCK:
            return self._received_at_once(reader, descriptor, target)
        hashing = Hashing(reader.left)
        try:
            while reader.left:
                block = self._buffers.pop() if self._buffers else memoryview(bytearray(PIECE))
                filled = 0
                while filled < PIECE and reader.left:
                    count = reader.into(block[filled : filled + _BLOCK])
                    with _local(target):
                        _write_all(descriptor, block[filled : filled + count])
                    filled += count
                    self._progress(count, 0)
                hashing.add(block[:filled], lambda block=block: self._buffers.append(block))  # type: ignore[misc]
            return str(hashing.digest())
        finally:
            hashing.close()

    def _received_at_once(self, reader: PackReader, descriptor: int, target: str) -> str:
        """The same for a small one: there may be many thousands of them."""
        size = reader.left
        block = self._small[:size]
        while reader.left:
            reader.into(block[size - reader.left :])
        with _local(target):
            _write_all(descriptor, block)
        self._progress(size, 0)
        return hashlib.sha256(block).hexdigest()


class _NewFile:
    """A file that is being written."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.digest = ""


def _write_all(descriptor: int, view: memoryview) -> None:
    while view:
        view = view[os.write(descriptor, view) :]


@contextmanager
def _local(target: str) -> Iterator[None]:
    """Tells a failure of this machine's disk from one of the connection."""
    try:
        yield
    except OSError as failed:
        if failed.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(
                "The disk has no room for {}. Free some, or choose a folder on another disk.".format(target)
            ) from failed
        raise UserErrorException(
            "{} cannot be written: {}. Choose another folder, or check its permissions.".format(target, failed.strerror)
        ) from failed


def unpack_snapshot(answer: Answer, snapshot_id: str, folder: Folder, progress: Progress) -> List[FileEntry]:
    reader = PackReader(answer)  # type: ignore[arg-type]
    writer = FileWriter(progress)
    entries: List[FileEntry] = []
    by_digest: Dict[str, List[FileEntry]] = {}
    for name, _ in reader:
        if name == MANIFEST_ENTRY:
            entries = _manifest(reader)
            if manifest_id(Manifest(entries)) != snapshot_id:
                raise ServiceException("The server's list of files is not that of the snapshot {}.".format(snapshot_id))
            for entry in entries:
                folder.target(entry.path)
                by_digest.setdefault(entry.digest, []).append(entry)
            continue
        wanted = by_digest.pop(name, None)
        if not wanted:
            continue
        first = folder.target(wanted[0].path)
        writer.unpack(reader, first, name, wanted[0].executable)
        for twin in wanted[1:]:
            target = folder.target(twin.path)
            with _local(target):
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copyfile(first, target)
                if twin.executable:
                    os.chmod(target, os.stat(target).st_mode | 0o111)
            progress(twin.size, 1)
    if by_digest:
        raise ServiceException(
            "The server's copy of the snapshot {} lacks {} files.".format(snapshot_id, len(by_digest))
        )
    return entries


def unpack_files(answer: Answer, waiting: Dict[str, FileEntry], target: Mapping[str, str], progress: Progress) -> None:
    """Writes the entries of a pack named by path; takes from ``waiting`` what is done."""
    reader = PackReader(answer)  # type: ignore[arg-type]
    writer = FileWriter(progress)
    for name, _ in reader:
        entry = waiting.get(name)
        if entry is None:
            raise ServiceException("The server sent a file that was not asked for: {!r}.".format(name[:200]))
        writer.unpack(reader, target[name], entry.digest, entry.executable)
        del waiting[name]
    if waiting:
        raise ServiceException("The server did not send {} of the files asked for.".format(len(waiting)))


def copy_lent(
    transport: Transport, path: str, entries: Sequence[FileEntry], target: Mapping[str, str], progress: Progress
) -> Set[str]:
    """Copies files that the server of this machine lends by the route ``path``; gives the paths of those that came.

    Raises:
        ServiceException: a file is not what its digest says.
    """
    waiting = {entry.path: entry for entry in entries}
    done: Set[str] = set()
    writer = FileWriter(progress)
    for name, descriptor in fetch(transport, path, list(waiting)):
        try:
            entry = waiting[name]
            writer.copy(descriptor, target[name], entry.digest, entry.executable)
            done.add(name)
        finally:
            os.close(descriptor)
    return done
