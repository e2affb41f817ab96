"""Moves files between this machine and a server: only what the other side lacks, in packs, verified.

Memory stays bounded for files of any size and number. A digest travels with every file: what
arrives changed is refused and, where the file changed while it was sent, read and sent once more.
"""

import http.client
import os
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple
from urllib.parse import urlencode

from runyard.digests import DigestCache, LocalFile, of_file, sha256_of_file
from runyard.errors import RunyardError, ServiceException, SnapshotException, UserErrorException
from runyard.handover import WORTHWHILE, Bringer
from runyard.progress import Progress, silent
from runyard.protocol.codec import from_json
from runyard.protocol.digest import LARGE
from runyard.protocol.files import FileEntry, Manifest, manifest_id
from runyard.sending import TRIES, send_packs
from runyard.transport.base import Transport, url_path
from runyard.unpacking import Folder, copy_lent, file_entries, unpack_files, unpack_snapshot

_BROKEN = (http.client.HTTPException, OSError, ValueError)
_FETCH_FILES = 2000  # files asked for in one request


# Snapshots


def send_snapshot(
    transport: Transport,
    directory: str,
    script: Optional[str] = None,
    progress: Optional[Progress] = None,
    say: Optional[Callable[[str], Any]] = None,
    sent: Optional[Set[str]] = None,
) -> str:
    """Sends the source directory's tree and gives the snapshot's id. An unchanged tree costs one request at most.

    Args:
        script: the entry script, which must be among the files.
        say: is told what a person should know of a large tree; default prints to stderr.
        sent: ids of snapshots that the server has: for them nothing is asked, and what is sent is added.
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
        manifest = _manifest(files)
        snapshot_id = manifest_id(from_json(Manifest, manifest)) if sent else None
        if sent is not None and snapshot_id in sent:
            return {"id": snapshot_id}
        answer = transport.call("POST", "/snapshots", json=manifest)
        if sent is not None and answer["id"] is not None:
            sent.add(answer["id"])
        return answer

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
                return unpack_snapshot(answer, snapshot_id, Folder(directory), progress or silent)
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
        return _brought(transport, files, progress)

    def commit(found: Sequence[LocalFile]) -> Any:
        query = {"overwrite": "true"} if overwrite else None
        return transport.call("POST", url_path("runs", run_id, "files"), json=_manifest(found), query=query)

    found = _store(transport, scan, commit, progress)[1]
    return [FileEntry(file.name, file.size, file.digest, file.executable) for file in found]


def list_run_files(transport: Transport, run_id: str) -> List[FileEntry]:
    """The files that a run has, by path."""
    return file_entries(transport.call("GET", url_path("runs", run_id, "files")))


def list_given_files(transport: Transport, run_id: str, name: str) -> List[FileEntry]:
    """The files of another run that ``run_id`` was given as the data reference ``name``."""
    return file_entries(transport.call("GET", url_path("runs", run_id, "given", name)))


def download_given_files(
    transport: Transport, run_id: str, name: str, entries: Sequence[FileEntry], target: Mapping[str, str]
) -> int:
    """Writes such files to this machine and gives their number (see ``download_run_files``)."""
    return _download(transport, url_path("runs", run_id, "given", name), entries, target, None)


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
    return _download(transport, url_path("runs", run_id, "files"), entries, target, progress)


# A datastore's files


def bring_to_datastore(
    transport: Transport, datastore: str, target_path: str, files: Sequence[Tuple[str, str]], cache: DigestCache
) -> Tuple[List[LocalFile], Set[str]]:
    """Files as ``local_files``, and the names of those that the datastore has had from this machine by that.

    Large files where the datastore has nothing yet are handed over, so that they are read once.
    """
    large = [name for name, local in files if _size(local) >= WORTHWHILE]
    if not large:
        return local_files(files, cache), set()
    path = url_path("datastores", datastore, "files", "expect") + "?" + urlencode({"target_path": target_path})
    with Bringer(transport, path, large) as bringer:
        return local_files(files, cache, bringer), bringer.brought


def _size(local: str) -> int:
    try:
        return os.stat(local).st_size
    except OSError:
        return 0  # told by whoever reads it


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
        refused = send_packs(
            transport, url_path("datastores", datastore, "files"), query, waiting, _digest_and_path, progress
        )
        if not refused:
            return {"sent": plan["send"], "same": plan["same"], "kept": plan["kept"]}
        again = local_files([(file.name, file.local) for file in waiting if _digest_and_path(file) in refused])
        waiting = _as_before(again, {name.partition("/")[0] for name in refused})
    raise _keeps_changing(waiting)


def list_datastore_files(transport: Transport, datastore: str, prefix: Optional[str] = None) -> List[FileEntry]:
    """The datastore's files whose path begins with ``prefix``. A digest is "" where it is not known yet."""
    return file_entries(transport.call("GET", url_path("datastores", datastore, "files"), query={"prefix": prefix}))


def download_datastore_files(
    transport: Transport,
    datastore: str,
    entries: Sequence[FileEntry],
    target: Mapping[str, str],
    progress: Optional[Progress] = None,
) -> int:
    """Writes files of a datastore to this machine and gives their number (see ``download_run_files``)."""
    return _download(transport, url_path("datastores", datastore, "files"), entries, target, progress)


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
    return _store(transport, lambda: _brought(transport, files, progress), commit, progress)[0]


def download_model_files(
    transport: Transport,
    name: str,
    version: int,
    entries: Sequence[FileEntry],
    target: Mapping[str, str],
    progress: Optional[Progress] = None,
) -> int:
    """Writes files of a model to this machine and gives their number (see ``download_run_files``)."""
    return _download(transport, url_path("models", name, str(version)), entries, target, progress)


# What all of them share


def local_files(
    files: Iterable[Tuple[str, str]], cache: Optional[DigestCache] = None, bringer: Optional[Bringer] = None
) -> List[LocalFile]:
    """``(name, local path)`` with size and digest.

    Args:
        bringer: has the server keep large files where it can, which gives their digests too.
    Raises:
        UserErrorException: a file that is not there or cannot be read.
    """
    found = []
    for name, local in files:
        try:
            stat = os.stat(local)
            kept = bringer.keep(name, local) if bringer is not None and stat.st_size >= WORTHWHILE else None
            if kept is not None:
                digest, size = kept
            else:
                digest, size = of_file(local) if cache is None else cache.digest(local, stat), stat.st_size
        except OSError as unread:
            raise UserErrorException(
                "The file {} cannot be read: {}. Check its path and its permissions.".format(local, unread.strerror)
            ) from unread
        found.append(LocalFile(name, local, size, digest, bool(stat.st_mode & 0o100)))
    return found


def _brought(transport: Transport, files: Iterable[Tuple[str, str]], progress: Optional[Progress]) -> List[LocalFile]:
    with Bringer(transport, progress=progress or silent) as bringer:
        return local_files(files, bringer=bringer)


def contained(directory: str, path: str) -> str:
    """The local path of ``path`` below ``directory``, for a path that came from a server.

    Raises:
        PathRefusedError: absolute, with ``..``, a drive, a backslash or a control character, or a
            link on its way leads out of the directory.
    """
    return Folder(directory).target(path)


def send_objects(transport: Transport, files: Sequence[LocalFile], progress: Optional[Progress] = None) -> Set[str]:
    """Sends the files' bytes to the object store.

    Returns:
        Digests that were refused, since the files had other bytes when they were sent.
    """
    return send_packs(transport, "/objects", None, files, _digest, progress)


def _store(
    transport: Transport,
    scan: Callable[[], List[LocalFile]],
    commit: Callable[[Sequence[LocalFile]], Any],
    progress: Optional[Progress],
) -> Tuple[str, List[LocalFile]]:
    """Commits a manifest, sending what the store says it lacks; reads the files again if they changed meanwhile."""
    waiting: List[LocalFile] = []
    refused: Set[str] = set()
    for _ in range(TRIES):
        files = _as_before(scan(), refused)
        answer = commit(files)
        if answer["id"] is None:
            missing = set(answer["missing"])
            waiting = [file for file in files if file.digest in missing]
            refused = send_objects(transport, waiting, progress)
            if not refused:
                answer = commit(files)
        if answer["id"] is not None:
            return answer["id"], files
    raise _keeps_changing(waiting)


def _as_before(files: Sequence[LocalFile], refused: Set[str]) -> List[LocalFile]:
    """Large files that were refused and have not changed go by their SHA-256: a server of before knows no other name."""
    return [
        file._replace(digest=sha256_of_file(file.local)) if file.digest in refused and file.size >= LARGE else file
        for file in files
    ]


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


def _silent(_text: str) -> None:
    return None


def _raise_if_last(tries_left: int, what: str, broken: Exception) -> None:
    if not tries_left:
        raise ServiceException(
            "{} could not be fetched whole, the connection broke {} times: {}. "
            "See `runyard status`, then try again.".format(what[:1].upper() + what[1:], TRIES, broken)
        ) from broken


def _download(
    transport: Transport,
    path: str,
    entries: Sequence[FileEntry],
    target: Mapping[str, str],
    progress: Optional[Progress],
) -> int:
    large = [entry for entry in entries if entry.size >= WORTHWHILE]
    done = copy_lent(transport, path + "/handover", large, target, progress or silent) if large else set()
    packed = [entry for entry in entries if entry.path not in done]
    for start in range(0, len(packed), _FETCH_FILES):
        waiting = {entry.path: entry for entry in packed[start : start + _FETCH_FILES]}
        for tries_left in reversed(range(TRIES)):
            try:
                with transport.request("POST", path + "/pack", json={"paths": list(waiting)}, stream=True) as answer:
                    unpack_files(answer, waiting, target, progress or silent)
            except _BROKEN as broken:
                _raise_if_last(tries_left, "files such as '{}'".format(next(iter(waiting))), broken)
            else:
                break
    return len(entries)
