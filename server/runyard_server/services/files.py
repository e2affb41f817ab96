"""What may be asked of runs' files: commit, list, open, pack, adopt."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runyard.errors import FileNotInRunError, RunException
from runyard.protocol.files import FileEntry, Manifest, ManifestAnswer, manifest_id
from runyard_server.artifacts.send import Outgoing
from runyard_server.artifacts.store import ObjectStore, is_digest_of
from runyard_server.domain.clock import Clock
from runyard_server.domain.paths import relative
from runyard_server.domain.retrying import OUTPUTS
from runyard_server.records import files as records
from runyard_server.records import runs as run_records
from runyard_server.records.engine import Database
from runyard_server.services.objects import check_tree, checked_manifest

_SHOWN = 10


@dataclass(frozen=True)
class StoredFile:
    """One file of a run, and the local file that holds its bytes (read only)."""

    entry: FileEntry
    location: Path


class FileService:
    """The files of runs: manifests over objects. What is listed is there, whole."""

    def __init__(self, database: Database, clock: Clock, store: ObjectStore) -> None:
        self._database = database
        self._clock = clock
        self._store = store

    def commit(self, run_id: str, manifest: Manifest, overwrite: bool = False) -> ManifestAnswer:
        """Adds files to a run: all of them, or none while the store lacks some (the answer names those).

        Adding the same bytes under the same path again changes nothing.

        Raises:
            UnknownRunError: no such run.
            RunException: a path that the run has with other bytes, and ``overwrite`` is False.
            PathRefusedError, UserErrorException: see ``checked_manifest``.
        """
        sizes = checked_manifest(manifest)
        with self._database.read() as connection:
            run_records.get(connection, run_id)
        missing = self._store.missing_or_short(sizes)
        if missing:
            return ManifestAnswer(id=None, missing=missing)
        with self._database.write() as connection:
            here = {entry.path: entry for entry in records.of_run(connection, run_id)}
            clashing = [entry.path for entry in manifest.files if here.get(entry.path, entry).digest != entry.digest]
            if clashing and not overwrite:
                raise RunException(
                    f"The run has {_some(clashing)} already, with other bytes. A run's file is written once: choose "
                    "another name."
                )
            check_tree(list(dict.fromkeys([*here, *(entry.path for entry in manifest.files)])))
            new = [
                entry
                for entry in manifest.files
                if here.get(entry.path) != FileEntry(entry.path, entry.size, entry.digest)
            ]
            records.put_of_run(connection, run_id, new, self._clock.now())
        return ManifestAnswer(id=manifest_id(manifest))

    def list(self, run_id: str) -> list[FileEntry]:
        """The run's files, by path. Raises UnknownRunError: a run that is not there has no empty list of files."""
        with self._database.read() as connection:
            found = records.of_run(connection, run_id)
            if not found:
                run_records.get(connection, run_id)
            return found

    def has_outputs(self, run_id: str) -> bool:
        """Whether the run has left anything that its next attempt can go on from."""
        with self._database.read() as connection:
            return records.has_any_below(connection, run_id, OUTPUTS + "/")

    def open(self, run_id: str, path: str) -> StoredFile:
        """One file of a run.

        Raises:
            UnknownRunError: no such run.
            FileNotInRunError: no such file; names the ten that are closest.
        """
        (entry,) = self._existing(run_id, [path])
        return StoredFile(entry, self._store.path(entry.digest))

    def sizes(self, run_id: str, below: Sequence[str] = ()) -> Sequence[tuple[str, int]]:
        """Path and size in bytes of each of the run's files, or of those below some folders, by path. Raises as ``list``."""
        with self._database.read() as connection:
            found = records.of_run(connection, run_id, below)
            if not found:
                run_records.get(connection, run_id)
        return [(entry.path, entry.size) for entry in found]

    def read(self, run_id: str, path: str, offset: int, limit: int) -> bytes:
        """At most ``limit`` bytes of a file from ``offset`` on. Raises as ``open``."""
        with self.open(run_id, path).location.open("rb") as source:
            source.seek(offset)
            return source.read(limit)

    def pack(self, run_id: str, paths: Sequence[str]) -> Sequence[Outgoing]:
        """The named files, as entries of a pack named by path. Raises as ``open``."""
        return [
            Outgoing(entry.path, entry.size, self._store.path(entry.digest)) for entry in self._existing(run_id, paths)
        ]

    def adopt_file(self, run_id: str, path: str, local_file: Path) -> FileEntry:
        """Makes a file of this machine a file of the run, in place of one of the same path.

        Raises:
            OSError: it cannot be read.
            StorageFullError: it does not fit on the disk.
        """
        relative(path)
        digest, size = self._store.add_file(local_file)
        entry = FileEntry(path, size, digest)
        with self._database.write() as connection:
            records.put_of_run(connection, run_id, [entry], self._clock.now())
        return entry

    def check(self, run_id: str) -> tuple[int, Sequence[str]]:
        """Reads every file of the run and hashes it again: their number, and the paths of those that are damaged."""
        entries = self.list(run_id)
        damaged = []
        for entry in entries:
            here = self._store.size(entry.digest) == entry.size
            if not here or not is_digest_of(entry.digest, self._store.path(entry.digest)):
                damaged.append(entry.path)
        return len(entries), damaged

    def _existing(self, run_id: str, paths: Sequence[str]) -> Sequence[FileEntry]:
        wanted = list(dict.fromkeys(paths))
        with self._database.read() as connection:
            found = records.some_of_run(connection, run_id, wanted)
            if len(found) == len(wanted):
                return found
            run = run_records.get(connection, run_id)
            here = [entry.path for entry in records.of_run(connection, run_id)]
        lacking = next(iter(set(wanted).difference(here)))
        if run.files_removed_at is not None and not here:
            raise FileNotInRunError(
                f"The run has no file {lacking[:200]!r} any more: a retention rule removed its files.",
                {"path": lacking},
            )
        raise FileNotInRunError(_not_there(lacking, here), {"path": lacking})


def _not_there(path: str, here: Sequence[str]) -> str:
    if not here:
        return f"The run has no file {path[:200]!r}; it has no files yet."
    close = difflib.get_close_matches(path, here, n=_SHOWN, cutoff=0.4)
    shown = [*close, *(other for other in here if other not in close)][:_SHOWN]
    more = f" and {len(here) - len(shown)} more" if len(here) > len(shown) else ""
    return f"The run has no file {path[:200]!r}. It has: {', '.join(shown)}{more}."


def _some(paths: Sequence[str]) -> str:
    shown = ", ".join(paths[:_SHOWN])
    return shown + (f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else "")
