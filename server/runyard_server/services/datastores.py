"""What may be asked of datastores: attach, list, and move files in and out. Each is a folder of this machine."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, MutableSequence, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runyard.errors import DatastoreException, PathRefusedError, UnknownDatastoreError
from runyard.names import check_datastore_name
from runyard.protocol.datastores import DatastoreRecord, DatastoreRegistration, UploadAnswer
from runyard.protocol.digest import LARGE
from runyard.protocol.files import FileEntry, Manifest
from runyard_server.artifacts.receive import PackSink, receive_pack
from runyard_server.artifacts.send import Outgoing
from runyard_server.artifacts.store import checked_digest, digest_of, is_digest_of
from runyard_server.artifacts.writing import Incoming, IncomingFile
from runyard_server.domain.clock import Clock
from runyard_server.domain.paths import inside, relative
from runyard_server.records import datastores as records
from runyard_server.records.datastores import KnownFile
from runyard_server.records.engine import Database
from runyard_server.services.objects import checked_manifest

DEFAULT = "workspaceblobstore"
BUILT_IN = (DEFAULT, "workspacefilestore")
INCOMING = ".runyard-incoming"  # where uploads that have not ended are kept
_SETTLED_NS = 2 * 10**9  # a file changed this shortly before may change again within the same time stamp


@dataclass(frozen=True)
class Place:
    """A file or folder of a datastore, as it lies in the folder above it."""

    name: str
    is_folder: bool
    size_bytes: int
    modified_at: float


class DatastoreService:
    """Datastores: named folders.

    Args:
        root: below it lie the folders of the datastores that every workspace has.
        allowed_roots: folders below which a client may attach others; none by default.
    """

    def __init__(self, database: Database, clock: Clock, root: Path, allowed_roots: Sequence[Path] = ()) -> None:
        self._database = database
        self._clock = clock
        self._root = root
        self._allowed_roots = [Path(os.path.realpath(folder)) for folder in allowed_roots]
        self._incoming: dict[Path, Incoming] = {}
        self._opening = threading.Lock()

    def ensure_defaults(self) -> None:
        """Makes the datastores that every workspace has, where they are missing."""
        for name in BUILT_IN:
            (self._root / name).mkdir(parents=True, exist_ok=True)
        with self._database.write() as connection:
            here = records.list_all(connection)
            names = {record.name for record in here}
            for name in BUILT_IN:
                if name not in names:
                    first = name == DEFAULT and not any(record.is_default for record in here)
                    records.add(connection, DatastoreRecord(name, is_default=first))

    # What is attached

    def list(self) -> list[DatastoreRecord]:
        """Every datastore, by name."""
        with self._database.read() as connection:
            found = records.list_all(connection)
        return [self._told(record) for record in found]

    def get(self, name: str) -> DatastoreRecord:
        """Raises UnknownDatastoreError, which names those that are there."""
        with self._database.read() as connection:
            record = records.get(connection, name)
            if record is None:
                names = ", ".join(other.name for other in records.list_all(connection))
                raise UnknownDatastoreError(f"There is no datastore {name[:80]!r}. This workspace has: {names}.")
        return self._told(record)

    def register(self, wanted: DatastoreRegistration) -> DatastoreRecord:
        """Attaches a folder of this machine.

        Raises:
            DatastoreException: a name against the rules or taken, another kind, or a folder that is not there
                or that the server's settings do not allow.
        """
        check_datastore_name(wanted.name)
        if wanted.kind != "folder":
            raise DatastoreException(
                f"Datastores of kind {wanted.kind[:80]!r} cannot be attached. Attach a folder: kind 'folder' with its path."
            )
        folder = self._checked_folder(wanted.settings.get("path", ""))
        with self._database.write() as connection:
            here = records.get(connection, wanted.name)
            if here is not None and (wanted.name in BUILT_IN or not wanted.overwrite):
                raise DatastoreException(
                    f"A datastore {wanted.name!r} is there already. Choose another name"
                    + ("." if wanted.name in BUILT_IN else ", or pass overwrite=True.")
                )
            if here is None:
                records.add(connection, DatastoreRecord(wanted.name, settings={"path": str(folder)}))
            else:
                records.change(connection, wanted.name, settings={"path": str(folder)})
                records.forget_files(connection, wanted.name)
        return self.get(wanted.name)

    def set_default(self, name: str) -> DatastoreRecord:
        """Makes ``name`` the workspace's default datastore."""
        self.get(name)
        with self._database.write() as connection:
            records.set_default(connection, name)
        return self.get(name)

    def unregister(self, name: str) -> None:
        """Forgets a datastore; its files stay where they are.

        Raises:
            DatastoreException: it is one that every workspace has, or the default.
        """
        record = self.get(name)
        if name in BUILT_IN or record.is_default:
            why = (
                "every workspace has it"
                if name in BUILT_IN
                else "it is the default; make another one the default first"
            )
            raise DatastoreException(f"The datastore {name!r} cannot be unregistered: {why}.")
        with self._database.write() as connection:
            records.remove(connection, name)

    # Files in and out

    def plan_upload(self, name: str, target_path: str, manifest: Manifest, overwrite: bool) -> UploadAnswer:
        """Which of the offered files, their paths below ``target_path``, are to be sent.

        Raises:
            PathRefusedError: a path that is not plain and relative.
            DatastoreException: a path that is a folder there, or needs a file there as a folder.
        """
        checked_manifest(manifest)
        folder = self._folder(self.get(name))
        paths = {entry.path: _below(target_path, entry.path) for entry in manifest.files}
        states = {path: _state(inside(folder, path), path) for path in paths.values()}
        with self._database.read() as connection:
            known = records.known_files(connection, name, [path for path, state in states.items() if state])
        send: list[str] = []
        same: list[str] = []
        kept: list[str] = []
        learnt: list[KnownFile] = []
        for entry in manifest.files:
            path = paths[entry.path]
            state = states[path]
            if state is None:
                send.append(entry.path)
                continue
            is_same = state.st_size == entry.size and self._is_same(
                folder / path, replace(entry, path=path), state, known.get(path), learnt
            )
            (same if is_same else send if overwrite else kept).append(entry.path)
        self._remember(name, learnt)
        return UploadAnswer(send=send, same=same, kept=kept)

    async def receive(self, name: str, target_path: str, body: AsyncIterator[bytes], length: int | None) -> int:
        """Takes a pack whose entries are named ``<digest>/<path below target_path>``; gives their number.

        Each file is put in its place at once, when all of it is there and has its digest.

        Args:
            length: the body's size in bytes, where the sender said it.
        Raises:
            DigestMismatchError: some have other bytes than their digest says; those are not kept.
            StorageFullError: it does not fit on the disk.
        """
        sink = await asyncio.to_thread(self._sink, name, target_path, length or 0)
        return await receive_pack(body, sink)

    def absent(self, name: str, target_path: str, paths: Sequence[str]) -> Sequence[str]:
        """Those of ``paths`` below ``target_path`` where nothing is yet. Raises as ``plan_upload``."""
        folder = self._folder(self.get(name))
        places = {path: _below(target_path, path) for path in dict.fromkeys(paths)}
        return [path for path, place in places.items() if _state(inside(folder, place), place) is None]

    def keeper(self, name: str, target_path: str, paths: Sequence[str]) -> Callable[[str, int], tuple[str, int]]:
        """Takes open files to ``paths`` below ``target_path``, each whole or not at all: (path, descriptor) to its digest
        and size in bytes."""
        folder = self._folder(self.get(name))
        wanted = frozenset(paths)

        def keep(path: str, source: int) -> tuple[str, int]:
            if path not in wanted:
                raise DatastoreException(f"The file {path[:200]!r} was not announced. Send its bytes instead.")
            size = os.fstat(source).st_size
            sink = self._sink(name, target_path, size)
            incoming = sink.open(path, size)
            try:
                size = incoming.copy(source, size)
                digest = incoming.digest()
                sink.put(incoming, digest)
            except BaseException:
                incoming.discard()
                raise
            sink.finish()
            return digest, size

        inside(folder, _below(target_path, "file"))  # a target that leads out is refused before a file is asked for
        return keep

    def files(self, name: str, prefix: str = "") -> Sequence[FileEntry]:
        """The files whose path begins with ``prefix``, by path. A digest that is not known yet is ""."""
        folder = self._folder(self.get(name))
        first = prefix.rpartition("/")[0]
        start = inside(folder, first) if first else folder
        found = [item for item in _walk(start, first) if item[0].startswith(prefix) and _is_within(folder, *item)]
        found.sort(key=lambda item: item[0])
        with self._database.read() as connection:
            known = records.known_files(connection, name, [path for path, _ in found])
        entries = []
        for path, entry in found:
            state = entry.stat()
            told = known.get(path)
            digest = told.digest if told is not None and _is_unchanged(told, state) else ""
            entries.append(FileEntry(path, state.st_size, digest))
        return entries

    def browse(self, name: str, path: str = "", most: int = 1000) -> tuple[Sequence[Place], bool]:
        """What lies in one folder of a datastore, folders first, and whether there is more than ``most``.

        Raises:
            DatastoreException: there is no such folder.
        """
        folder = self._folder(self.get(name))
        place = inside(folder, path) if path else folder
        try:
            listing = os.scandir(place)
        except (FileNotFoundError, NotADirectoryError):
            raise DatastoreException(f"The datastore {name!r} has no folder {path[:200]!r}.") from None
        found: MutableSequence[Place] = []
        with listing:
            for entry in listing:
                where = f"{path}/{entry.name}" if path else entry.name
                is_folder = entry.is_dir(follow_symlinks=False)
                if where == INCOMING or not (is_folder or entry.is_file()) or not _is_within(folder, where, entry):
                    continue
                if len(found) == most:
                    return sorted(found, key=_place_order), True
                state = entry.stat()
                found.append(Place(entry.name, is_folder, 0 if is_folder else state.st_size, state.st_mtime))
        return sorted(found, key=_place_order), False

    def pack(self, name: str, paths: Sequence[str]) -> Sequence[Outgoing]:
        """The named files, as entries of a pack named by path.

        Raises:
            DatastoreException: one of them is not there.
        """
        folder = self._folder(self.get(name))
        entries = []
        for path in dict.fromkeys(paths):
            location = inside(folder, path)
            state = _state(location, path)
            if state is None:
                raise DatastoreException(f"The datastore {name!r} has no file {path[:200]!r}.")
            entries.append(Outgoing(path, state.st_size, location))
        return entries

    def local_path(self, name: str, path: str = "") -> Path:
        """Where ``path`` of a datastore lies on this machine: a mount of it is that folder itself.

        Raises:
            UnknownDatastoreError, PathRefusedError.
        """
        folder = self._folder(self.get(name))
        return inside(folder, path) if path else folder

    def _sink(self, name: str, target_path: str, size_bytes: int) -> "_FolderSink":
        folder = self._folder(self.get(name))
        incoming = self._incoming_for(folder)
        incoming.require_room(size_bytes)
        return _FolderSink(folder, target_path, incoming, lambda learnt: self._remember(name, learnt))

    def _folder(self, record: DatastoreRecord) -> Path:
        path = record.settings.get("path")
        folder = self._root / record.name if path is None else Path(path)
        if not folder.is_dir():
            raise DatastoreException(
                f"The folder {folder} of the datastore {record.name!r} is not there. Is its disk mounted?"
            )
        return folder

    def _told(self, record: DatastoreRecord) -> DatastoreRecord:
        return replace(record, local_path=record.settings.get("path") or str(self._root / record.name))

    def _checked_folder(self, path: str) -> Path:
        if not os.path.isabs(path):
            raise DatastoreException(f"A folder is attached by its absolute path on the server, not {path[:200]!r}.")
        real = Path(os.path.realpath(path))
        if not any(real == allowed or allowed in real.parents for allowed in self._allowed_roots):
            allowed_now = ", ".join(map(str, self._allowed_roots)) or "none"
            raise DatastoreException(
                f"The server does not allow {path[:200]!r} as a datastore. Folders below these are allowed: {allowed_now}. "
                "Who runs the server allows more with RUNYARD_DATASTORE_ROOTS=/first/folder:/second/folder."
            )
        if not real.is_dir():
            raise DatastoreException(f"{path[:200]!r} is no folder on the server. Make it first.")
        return real

    def _incoming_for(self, folder: Path) -> Incoming:
        with self._opening:
            if folder not in self._incoming:
                # Beside a folder of ours; inside one that is only attached, since beside it may be another disk.
                beside = folder.parent == self._root
                self._incoming[folder] = Incoming((self._root if beside else folder) / INCOMING)
            return self._incoming[folder]

    def close(self) -> None:
        """Removes what was being written."""
        with self._opening:
            for incoming in self._incoming.values():
                incoming.close()
            self._incoming.clear()

    def _is_same(
        self,
        location: Path,
        entry: FileEntry,
        state: os.stat_result,
        known: KnownFile | None,
        learnt: MutableSequence[KnownFile],
    ) -> bool:
        """Whether the file at ``location`` has the entry's bytes; it has their number."""
        told = known.digest if known is not None and _is_unchanged(known, state) else None
        digest = told or digest_of(location)
        if digest != entry.digest and entry.size >= LARGE and is_digest_of(entry.digest, location):
            digest = entry.digest  # one of the two is by the rule of before
        if digest != told and state.st_mtime_ns < self._clock.now() * 1e9 - _SETTLED_NS:
            learnt.append(KnownFile(entry.path, state.st_size, state.st_mtime_ns, digest))
        return digest == entry.digest

    def _remember(self, name: str, learnt: Sequence[KnownFile]) -> None:
        if learnt:
            with self._database.write() as connection:
                if records.get(connection, name) is not None:
                    records.remember_files(connection, name, learnt)


class _FolderSink(PackSink):
    """Entries named ``<digest>/<path>``, into a datastore's folder."""

    def __init__(
        self, folder: Path, target_path: str, incoming: Incoming, remember: Callable[[Sequence[KnownFile]], None]
    ) -> None:
        self._folder, self._target_path, self._incoming, self._remember = folder, target_path, incoming, remember
        self._learnt: dict[str, KnownFile] = {}
        self._checked: set[str] = set()
        self._path = ""

    def finish(self) -> None:
        self._remember(list(self._learnt.values()))

    def begin(self, name: str, size: int) -> IncomingFile:
        digest, _, rest = name.partition("/")
        checked_digest(digest)
        return self.open(rest, size)

    def end(self, incoming: IncomingFile, name: str, size: int) -> None:
        self.put(incoming, name.partition("/")[0])

    def open(self, path: str, size: int) -> IncomingFile:
        """A file to write what shall lie at ``path`` below the target."""
        self._path = _below(self._target_path, path)
        parent = self._path.rpartition("/")[0]
        if parent and parent not in self._checked:  # a link in the place of the file itself is replaced, not followed
            inside(self._folder, parent)
            self._checked.add(parent)
        return self._incoming.file(size, 0o666)

    def put(self, incoming: IncomingFile, digest: str) -> None:
        """Puts the file that was opened last in its place. Raises DigestRefused."""
        location = self._folder / self._path
        try:
            incoming.place(location, digest)
        except (IsADirectoryError, NotADirectoryError, FileExistsError) as blocked:
            raise _blocked(self._path) from blocked
        state = location.stat()
        self._learnt[self._path] = KnownFile(self._path, state.st_size, state.st_mtime_ns, digest)


def _place_order(place: Place) -> tuple[bool, str]:
    return not place.is_folder, place.name.lower()


def _below(target_path: str, path: str) -> str:
    joined = relative(f"{target_path}/{path}" if target_path else path)
    if joined.partition("/")[0] == INCOMING:
        raise PathRefusedError(f"{INCOMING!r} is where half-written files lie. Choose another name.")
    return joined


def _state(location: Path, path: str) -> os.stat_result | None:
    """What is at ``location``: None for nothing, else it is a file."""
    try:
        state = os.stat(location)
    except FileNotFoundError:
        return None
    except NotADirectoryError as blocked:
        raise _blocked(path) from blocked
    if not os.path.isfile(location):
        raise _blocked(path)
    return state


def _blocked(path: str) -> DatastoreException:
    return DatastoreException(
        f"{path!r} cannot be a file on the datastore: a folder is there, or a file where it needs a folder. "
        "Choose another path."
    )


def _is_unchanged(known: KnownFile, state: os.stat_result) -> bool:
    return known.size == state.st_size and known.modified_ns == state.st_mtime_ns


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    waiting = [(str(folder), prefix)]
    while waiting:
        place, above = waiting.pop()
        try:
            listing = os.scandir(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        with listing:
            for entry in listing:
                path = f"{above}/{entry.name}" if above else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if path != INCOMING:
                        waiting.append((entry.path, path))
                elif entry.is_file():
                    yield path, entry


def _is_within(folder: Path, path: str, entry: "os.DirEntry[str]") -> bool:
    """Whether a file may be listed: its name can be asked for, and it is no link that leads out."""
    try:
        relative(path)
        if entry.is_symlink():
            inside(folder, path)
    except PathRefusedError:
        return False
    return True
