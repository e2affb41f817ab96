"""Moves files between this machine and a server: only what the other side lacks, in packs, verified.

Memory stays bounded for files of any size and number. A digest travels with every file: what
arrives changed is refused and, where the file changed while it was sent, read and sent once more.
"""

import errno
import hashlib
import http.client
import json
import os
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from runyard.digests import DigestCache, LocalFile
from runyard.errors import (
    DigestMismatchError,
    PathRefusedError,
    RunyardError,
    ServerUnavailableError,
    ServiceException,
    SnapshotException,
    StorageFullError,
    UserErrorException,
)
from runyard.progress import Progress
from runyard.protocol.files import MANIFEST_ENTRY, FileEntry, Manifest, manifest_id
from runyard.protocol.pack import CHUNK, END, PackReader, entry_header, packed_size
from runyard.transport.base import Answer, Transport, url_path

PACK_BYTES = 64 << 20
PACK_FILES = 1000
TRIES = 3

_BROKEN = (http.client.HTTPException, OSError, ValueError)
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_HASHED_BESIDE = 8 << 20  # bytes from which a thread is worth its start
_FETCH_FILES = 2000  # files asked for in one request


# Snapshots


def send_snapshot(
    transport: Transport,
    directory: str,
    script: Optional[str] = None,
    progress: Optional[Progress] = None,
    say: Optional[Callable[[str], Any]] = None,
) -> str:
    """Sends the source directory's tree and gives the snapshot's id. An unchanged tree costs one request.

    Args:
        script: the entry script, which must be among the files.
        say: is told what a person should know of a large tree; default prints to stderr.
    Raises:
        UserErrorException: no such directory or script.
        SnapshotException: the tree cannot be sent (see ``snapshot.scan``) or keeps changing.
    """
    from runyard import snapshot

    def scan() -> List[LocalFile]:
        nonlocal say
        files = snapshot.scan(directory, script, say)
        say = _silent  # once is enough if the tree is read again
        return files

    def commit(files: Sequence[LocalFile]) -> Any:
        return transport.call("POST", "/snapshots", json=_manifest(files))

    return _store(transport, scan, commit, progress)[0]


def fetch_snapshot(
    transport: Transport, snapshot_id: str, directory: str, progress: Optional[Progress] = None
) -> List[FileEntry]:
    """Writes a snapshot's tree into ``directory`` (made if missing), in one round trip.

    Raises:
        PathRefusedError: the tree has a path that would leave the directory; nothing is written.
        ServiceException: what came is not what the id and the digests say.
    """
    for tries_left in reversed(range(TRIES)):
        try:
            with transport.request("GET", url_path("snapshots", snapshot_id, "pack"), stream=True) as answer:
                return _unpack_snapshot(answer, snapshot_id, _Folder(directory), progress or _silent_progress)
        except _BROKEN as broken:
            _raise_if_last(tries_left, "the snapshot " + snapshot_id, broken)
    raise AssertionError("unreachable")


# A run's files


def upload_run_files(
    transport: Transport,
    run_id: str,
    files: Sequence[Tuple[str, str]],
    progress: Optional[Progress] = None,
    overwrite: bool = False,
) -> List[FileEntry]:
    """Stores ``(name, local path)`` files with a run: all of them, or none where it fails.

    Raises:
        UserErrorException: a local file that cannot be read.
        RunException: a name that the run has already with other bytes, and ``overwrite`` is False.
        PathRefusedError: a name that is no plain relative path.
    """

    def scan() -> List[LocalFile]:
        return local_files(files)

    def commit(found: Sequence[LocalFile]) -> Any:
        query = {"overwrite": "true"} if overwrite else None
        return transport.call("POST", url_path("runs", run_id, "files"), json=_manifest(found), query=query)

    found = _store(transport, scan, commit, progress)[1]
    return [FileEntry(file.name, file.size, file.digest, file.executable) for file in found]


def list_run_files(transport: Transport, run_id: str) -> List[FileEntry]:
    """The files that a run has, by path."""
    return _entries(transport.call("GET", url_path("runs", run_id, "files")))


def download_run_files(
    transport: Transport,
    run_id: str,
    entries: Sequence[FileEntry],
    target: Mapping[str, str],
    progress: Optional[Progress] = None,
) -> int:
    """Writes files of a run to this machine and gives their number.

    Args:
        entries: as ``list_run_files`` gave them.
        target: a path in the run to the local path it is written to. Make local paths from names
            that came from a server with ``contained`` alone.
    """
    return _download(transport, url_path("runs", run_id, "files", "pack"), entries, target, progress)


# A datastore's files


def upload_datastore_files(
    transport: Transport,
    datastore: str,
    target_path: str,
    files: Sequence[LocalFile],
    overwrite: bool,
    progress: Optional[Progress] = None,
) -> Dict[str, List[str]]:
    """Stores files below ``target_path`` of a datastore.

    Returns:
        Names by what became of them: "sent", "same" (there already with these bytes), "kept"
        (there with other bytes, and ``overwrite`` is False).
    """
    plan = transport.call(
        "POST",
        url_path("datastores", datastore, "plan"),
        json=dict(_manifest(files), target_path=target_path, overwrite=overwrite),
    )
    wanted = set(plan["send"])
    waiting = [file for file in files if file.name in wanted]
    query = {"target_path": target_path}
    for _ in range(TRIES):
        refused = _send_packs(
            transport, url_path("datastores", datastore, "files"), query, waiting, _digest_and_path, progress
        )
        if not refused:
            return {"sent": plan["send"], "same": plan["same"], "kept": plan["kept"]}
        waiting = local_files([(file.name, file.local) for file in waiting if _digest_and_path(file) in refused])
    raise _keeps_changing(waiting)


def list_datastore_files(transport: Transport, datastore: str, prefix: Optional[str] = None) -> List[FileEntry]:
    """The datastore's files whose path begins with ``prefix``. A digest is "" where it is not known yet."""
    return _entries(transport.call("GET", url_path("datastores", datastore, "files"), query={"prefix": prefix}))


def download_datastore_files(
    transport: Transport,
    datastore: str,
    entries: Sequence[FileEntry],
    target: Mapping[str, str],
    progress: Optional[Progress] = None,
) -> int:
    """Writes files of a datastore to this machine and gives their number (see ``download_run_files``)."""
    return _download(transport, url_path("datastores", datastore, "files", "pack"), entries, target, progress)


# A model's files


def send_model(
    transport: Transport,
    files: Sequence[Tuple[str, str]],
    commit: Callable[[Sequence[LocalFile]], Any],
    progress: Optional[Progress] = None,
) -> str:
    """Registers ``(name, local path)`` files as a model by ``commit`` and gives the model's id.

    Args:
        commit: asks the server to register the files; gives its ``{"id", "missing"}``.
    Raises:
        UserErrorException: a local file that cannot be read.
    """
    return _store(transport, lambda: local_files(files), commit, progress)[0]


def download_model_files(
    transport: Transport,
    name: str,
    version: int,
    entries: Sequence[FileEntry],
    target: Mapping[str, str],
    progress: Optional[Progress] = None,
) -> int:
    """Writes files of a model to this machine and gives their number (see ``download_run_files``)."""
    return _download(transport, url_path("models", name, str(version), "pack"), entries, target, progress)


# What all of them share


def local_files(files: Iterable[Tuple[str, str]], cache: Optional[DigestCache] = None) -> List[LocalFile]:
    """``(name, local path)`` with size and digest.

    Raises:
        UserErrorException: a file that is not there or cannot be read.
    """
    from runyard.digests import of_file

    found = []
    for name, local in files:
        try:
            stat = os.stat(local)
            digest = of_file(local) if cache is None else cache.digest(local, stat)
        except OSError as unread:
            raise UserErrorException(
                "The file {} cannot be read: {}. Check its path and its permissions.".format(local, unread.strerror)
            ) from unread
        found.append(LocalFile(name, local, stat.st_size, digest, bool(stat.st_mode & 0o100)))
    return found


def contained(directory: str, path: str) -> str:
    """The local path of ``path`` below ``directory``, for a path that came from a server.

    Raises:
        PathRefusedError: absolute, with ``..``, a drive, a backslash or a control character, or a
            link on its way leads out of the directory.
    """
    return _Folder(directory).target(path)


def send_objects(transport: Transport, files: Sequence[LocalFile], progress: Optional[Progress] = None) -> Set[str]:
    """Sends the files' bytes to the object store.

    Returns:
        Digests that were refused, since the files had other bytes when they were sent.
    """
    return _send_packs(transport, "/objects", None, files, _digest, progress)


def _store(
    transport: Transport,
    scan: Callable[[], List[LocalFile]],
    commit: Callable[[Sequence[LocalFile]], Any],
    progress: Optional[Progress],
) -> Tuple[str, List[LocalFile]]:
    """Commits a manifest, sending what the store says it lacks; reads the files again if they changed meanwhile."""
    waiting: List[LocalFile] = []
    for _ in range(TRIES):
        files = scan()
        answer = commit(files)
        if answer["id"] is None:
            missing = set(answer["missing"])
            waiting = [file for file in files if file.digest in missing]
            if not send_objects(transport, waiting, progress):
                answer = commit(files)
        if answer["id"] is not None:
            return answer["id"], files
    raise _keeps_changing(waiting)


def _keeps_changing(files: Sequence[LocalFile]) -> RunyardError:
    return SnapshotException(
        "Files keep changing while they are sent: {}. Wait until whatever writes them is done, or leave them out.".format(
            ", ".join(file.local for file in files[:5])
        )
    )


def _digest(file: LocalFile) -> str:
    return file.digest


def _digest_and_path(file: LocalFile) -> str:
    return file.digest + "/" + file.name


def _manifest(files: Sequence[LocalFile]) -> Dict[str, Any]:
    return {
        "files": [
            {"path": file.name, "size": file.size, "digest": file.digest, "executable": file.executable}
            for file in files
        ]
    }


def _entries(listed: Any) -> List[FileEntry]:
    return [
        FileEntry(str(item["path"]), int(item["size"]), str(item["digest"]), bool(item.get("executable")))
        for item in listed
    ]


def _silent(_text: str) -> None:
    return None


def _silent_progress(_moved_bytes: int, _files: int) -> None:
    return None


def _raise_if_last(tries_left: int, what: str, broken: Exception) -> None:
    if not tries_left:
        raise ServiceException(
            "{} could not be fetched whole, the connection broke {} times: {}. "
            "See `runyard status`, then try again.".format(what[:1].upper() + what[1:], TRIES, broken)
        ) from broken


# Sending


def _groups(files: Sequence[LocalFile], name_of: Callable[[LocalFile], str]) -> Iterator[List[LocalFile]]:
    """Files in packs of bounded size and number; one that is larger than a pack goes alone."""
    group: List[LocalFile] = []
    size = 0
    seen: Set[str] = set()
    for file in files:
        name = name_of(file)
        if name in seen:
            continue
        seen.add(name)
        if group and (size + file.size > PACK_BYTES or len(group) == PACK_FILES):
            yield group
            group, size = [], 0
        group.append(file)
        size += file.size
    if group:
        yield group


def _send_packs(
    transport: Transport,
    path: str,
    query: Optional[Dict[str, Any]],
    files: Sequence[LocalFile],
    name_of: Callable[[LocalFile], str],
    progress: Optional[Progress],
) -> Set[str]:
    refused: Set[str] = set()
    for group in _groups(files, name_of):
        names = [(name_of(file), file.size) for file in group]
        for tries_left in reversed(range(TRIES)):
            body = _PackBody(group, name_of, progress or _silent_progress)
            length = packed_size(names)
            try:
                if length <= CHUNK:  # as bytes, which the transport itself may send again
                    transport.request("POST", path, query=query, body=b"".join(body), length=length).close()
                else:
                    transport.request("POST", path, query=query, body=body, length=length).close()
                break
            except DigestMismatchError as mismatch:
                refused.update(mismatch.details.get("refused", ()))
                break
            except ServerUnavailableError:
                body.take_back()
                if not tries_left:
                    raise
    return refused


class _PackBody:
    """The bytes of one pack, in pieces of about 1 MiB, read while they are sent.

    It never fails: a file that became shorter or went away is filled up with zeros, and the server
    refuses it by its digest.
    """

    def __init__(self, files: Sequence[LocalFile], name_of: Callable[[LocalFile], str], progress: Progress) -> None:
        self._files, self._name_of, self._progress = files, name_of, progress
        self._moved_bytes = self._moved_files = 0

    def __iter__(self) -> Iterator[bytes]:
        parts: List[bytes] = []
        gathered = 0
        for file in self._files:
            parts.append(entry_header(self._name_of(file), file.size))
            for piece in _content(file):
                parts.append(piece)
                gathered += len(piece)
                if gathered >= CHUNK:
                    yield b"".join(parts) if len(parts) > 1 else piece
                    self._moved(gathered, 0)
                    parts, gathered = [], 0
            self._moved(0, 1)
        parts.append(END)
        yield b"".join(parts)
        self._moved(gathered, 0)

    def _moved(self, moved_bytes: int, files: int) -> None:
        self._moved_bytes += moved_bytes
        self._moved_files += files
        self._progress(moved_bytes, files)

    def take_back(self) -> None:
        """Tells the progress that what was sent has to be sent again."""
        self._moved(-self._moved_bytes, -self._moved_files)


def _content(file: LocalFile) -> Iterator[bytes]:
    """Exactly ``file.size`` bytes: the file's, then zeros where it has fewer."""
    left = file.size
    try:
        source = os.open(file.local, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        source = -1
    try:
        while left and source >= 0:
            try:
                piece = os.read(source, min(CHUNK, left))
            except OSError:
                break
            if not piece:
                break
            left -= len(piece)
            yield piece
    finally:
        if source >= 0:
            os.close(source)
    while left:
        piece = bytes(min(CHUNK, left))
        left -= len(piece)
        yield piece


# Receiving


class _Folder:
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


class _Writer:
    """Writes a pack's entries to their places: whole and verified, or not at all."""

    def __init__(self, reader: PackReader, progress: Progress) -> None:
        self._reader, self._progress = reader, progress
        self._made: Set[str] = set()
        self._buffers = [memoryview(bytearray(CHUNK)) for _ in range(2)]

    def write(self, target: str, digest: str, executable: bool = False) -> None:
        """Writes the present entry. ``digest`` "" where none is known."""
        folder = os.path.dirname(target) or "."
        temporary = os.path.join(folder, ".runyard-{}.part".format(os.urandom(8).hex()))
        with _local(target):
            if folder not in self._made:
                os.makedirs(folder, exist_ok=True)
                self._made.add(folder)
            descriptor = os.open(temporary, _NEW_FILE, 0o777 if executable else 0o666)
        try:
            try:
                found = self._copy(descriptor, target)
            finally:
                os.close(descriptor)
            if digest and found != digest:
                raise ServiceException(
                    "What came for {} is not what its digest says ({} instead of {}). It is not kept.".format(
                        target, found[:12], digest[:12]
                    )
                )
            with _local(target):
                os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
        self._progress(0, 1)

    def _copy(self, descriptor: int, target: str) -> str:
        """Writes the entry's bytes and gives their digest. A large one is hashed by a thread beside it."""
        digest = hashlib.sha256()
        beside = _Beside() if self._reader.left >= _HASHED_BESIDE else None
        turn = 0
        try:
            while True:
                view = self._buffers[turn]
                count = self._reader.into(view)
                if not count:
                    break
                if beside is None:
                    digest.update(view[:count])
                else:
                    beside.do(digest.update, view[:count])  # waits for the one before, so the other buffer is free
                    turn = 1 - turn
                with _local(target):
                    _write_all(descriptor, view[:count])
                self._progress(count, 0)
        finally:
            if beside is not None:
                beside.close()
        return digest.hexdigest()


class _Beside:
    """A thread that does one thing at a time for its owner."""

    def __init__(self) -> None:
        import threading
        from queue import SimpleQueue

        self._todo: SimpleQueue[Any] = SimpleQueue()
        self._done: SimpleQueue[None] = SimpleQueue()
        self._done.put(None)
        self._thread = threading.Thread(target=self._work, name="runyard-hash", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while True:
            item = self._todo.get()
            if item is None:
                return
            call, argument = item
            call(argument)
            self._done.put(None)

    def do(self, call: Callable[[Any], Any], argument: Any) -> None:
        """Starts ``call(argument)`` when the one before has ended."""
        self._done.get()
        self._todo.put((call, argument))

    def close(self) -> None:
        """Waits for what was started."""
        self._todo.put(None)
        self._thread.join()


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


def _unpack_snapshot(answer: Answer, snapshot_id: str, folder: _Folder, progress: Progress) -> List[FileEntry]:
    import shutil

    reader = PackReader(answer)  # type: ignore[arg-type]
    writer = _Writer(reader, progress)
    entries: List[FileEntry] = []
    by_digest: Dict[str, List[FileEntry]] = {}
    for name, _ in reader:
        if name == MANIFEST_ENTRY:
            entries = _entries(json.loads(b"".join(reader.chunks()))["files"])
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
        writer.write(first, name, wanted[0].executable)
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


def _download(
    transport: Transport,
    path: str,
    entries: Sequence[FileEntry],
    target: Mapping[str, str],
    progress: Optional[Progress],
) -> int:
    for start in range(0, len(entries), _FETCH_FILES):
        waiting = {entry.path: entry for entry in entries[start : start + _FETCH_FILES]}
        for tries_left in reversed(range(TRIES)):
            try:
                with transport.request("POST", path, json={"paths": list(waiting)}, stream=True) as answer:
                    _unpack_files(answer, waiting, target, progress or _silent_progress)
            except _BROKEN as broken:
                _raise_if_last(tries_left, "files such as '{}'".format(next(iter(waiting))), broken)
            else:
                break
    return len(entries)


def _unpack_files(answer: Answer, waiting: Dict[str, FileEntry], target: Mapping[str, str], progress: Progress) -> None:
    """Writes the entries of a pack named by path; takes from ``waiting`` what is done."""
    reader = PackReader(answer)  # type: ignore[arg-type]
    writer = _Writer(reader, progress)
    for name, _ in reader:
        entry = waiting.get(name)
        if entry is None:
            raise ServiceException("The server sent a file that was not asked for: {!r}.".format(name[:200]))
        writer.write(target[name], entry.digest, entry.executable)
        del waiting[name]
    if waiting:
        raise ServiceException("The server did not send {} of the files asked for.".format(len(waiting)))
