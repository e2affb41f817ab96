"""Rows of snapshots and of runs' files: what lists the objects of the store."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, or_, select

from runyard.protocol.codec import from_json
from runyard.protocol.files import FileEntry, Manifest
from runyard_server.records.tables import artifacts, snapshots
from runyard_server.records.upserts import put

_KEYS = 500
_SNAPSHOT = select(snapshots.c.files).where(snapshots.c.id == bindparam("wanted"))
_HAS_SNAPSHOT = select(snapshots.c.id).where(snapshots.c.id == bindparam("wanted"))


def snapshot(connection: Connection, snapshot_id: str) -> Manifest | None:
    """The snapshot's tree, None where there is none of that id."""
    files = connection.execute(_SNAPSHOT, {"wanted": snapshot_id}).scalar()
    return None if files is None else Manifest([from_json(FileEntry, item) for item in files])


def has_snapshot(connection: Connection, snapshot_id: str) -> bool:
    return connection.execute(_HAS_SNAPSHOT, {"wanted": snapshot_id}).first() is not None


def add_snapshot(connection: Connection, snapshot_id: str, manifest: Manifest, now: float) -> None:
    """Writes a snapshot down; one that is there already stays."""
    row = {
        "id": snapshot_id,
        "created_at": now,
        "files": [
            {"path": entry.path, "size": entry.size, "digest": entry.digest, "executable": entry.executable}
            for entry in manifest.files
        ],
        "size_bytes": sum(entry.size for entry in manifest.files),
    }
    put(connection, snapshots, [row])


def of_run(connection: Connection, run_id: str, below: Sequence[str] = ()) -> list[FileEntry]:
    """The run's files, by path.

    Args:
        below: folders, each with a "/" at its end; only what lies in one of them (SQLite takes the case of letters lightly).
    """
    wanted = _select().where(artifacts.c.run_id == run_id).order_by(artifacts.c.path)
    if below:
        wanted = wanted.where(or_(*(artifacts.c.path.startswith(folder, autoescape=True) for folder in below)))
    return [_entry(row) for row in connection.execute(wanted)]


def some_of_run(connection: Connection, run_id: str, paths: Iterable[str]) -> list[FileEntry]:
    """Those of the run's files whose paths are named; a path that is not there is left out."""
    wanted = list(dict.fromkeys(paths))
    found: dict[str, FileEntry] = {}
    for start in range(0, len(wanted), _KEYS):
        some = wanted[start : start + _KEYS]
        for row in connection.execute(_select().where(artifacts.c.run_id == run_id, artifacts.c.path.in_(some))):
            found[row.path] = _entry(row)
    return [found[path] for path in wanted if path in found]


def put_of_run(connection: Connection, run_id: str, entries: Sequence[FileEntry], now: float) -> None:
    """Adds files to a run, in place of those of the same path."""
    put(
        connection,
        artifacts,
        [
            {"run_id": run_id, "path": entry.path, "size": entry.size, "digest": entry.digest, "created_at": now}
            for entry in entries
        ],
    )


def remove_of_run(connection: Connection, run_id: str) -> None:
    """Forgets all of the run's files."""
    connection.execute(delete(artifacts).where(artifacts.c.run_id == run_id))


def _select() -> Any:
    return select(artifacts.c.path, artifacts.c.size, artifacts.c.digest)


def _entry(row: Any) -> FileEntry:
    return FileEntry(path=row.path, size=row.size, digest=row.digest)
