"""Rows of snapshots and of runs' files: what lists the objects of the store."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, or_, select, update

from runyard.protocol.codec import from_json
from runyard.protocol.files import FileEntry, Manifest
from runyard_server.records.portions import portions
from runyard_server.records.tables import artifacts, models, runs, snapshots
from runyard_server.records.upserts import put

_SNAPSHOT = select(snapshots.c.files).where(snapshots.c.id == bindparam("wanted"))
_RENEWED_S = 60.0  # a snapshot that is younger need not be renewed


def snapshot(connection: Connection, snapshot_id: str) -> Manifest | None:
    """The snapshot's tree, None where there is none of that id."""
    files = connection.execute(_SNAPSHOT, {"wanted": snapshot_id}).scalar()
    return None if files is None else Manifest([from_json(FileEntry, item) for item in files])


def renew_snapshot(connection: Connection, snapshot_id: str, now: float) -> bool:
    """Counts a snapshot as made now; whether it is here. Call inside ``write``."""
    changed = connection.execute(update(snapshots).where(snapshots.c.id == snapshot_id).values(created_at=now))
    return changed.rowcount > 0


def snapshot_is_new(connection: Connection, snapshot_id: str, now: float) -> bool:
    """Whether the snapshot is here and was made or renewed just now."""
    here = (snapshots.c.id == snapshot_id, snapshots.c.created_at > now - _RENEWED_S)
    return connection.execute(select(snapshots.c.id).where(*here)).first() is not None


def unneeded_snapshots(connection: Connection, before: float) -> set[str]:
    """Ids of the snapshots made before then that no run has."""
    old = set(connection.execute(select(snapshots.c.id).where(snapshots.c.created_at < before)).scalars())
    return old - set(
        connection.execute(select(runs.c.snapshot).where(runs.c.snapshot.is_not(None)).distinct()).scalars()
    )


def remove_unneeded_snapshots(connection: Connection, before: float) -> set[str]:
    """Removes them, and gives their ids. Call inside ``write``.

    Who is going to make a run of one renews it: that comes before these rows are locked, and is seen by the second
    look, or finds them gone.
    """
    gone = unneeded_snapshots(connection, before)
    if connection.dialect.name == "postgresql":
        for some in portions(sorted(gone)):
            connection.execute(select(snapshots.c.id).where(snapshots.c.id.in_(some)).with_for_update()).all()
        gone &= unneeded_snapshots(connection, before)
    for some in portions(sorted(gone)):
        connection.execute(delete(snapshots).where(snapshots.c.id.in_(some)))
    return gone


def needed_sizes(connection: Connection, without: Collection[str] = ()) -> dict[bytes, int]:
    """All contents that runs, models and snapshots (but those of ``without``) list: their digests as bytes, their sizes."""
    rows = connection.execute(select(artifacts.c.digest, artifacts.c.size).distinct())
    needed = {bytes.fromhex(digest): size for digest, size in rows}
    for files in connection.execute(select(models.c.files)).scalars():
        needed.update((bytes.fromhex(entry["digest"]), entry["size"]) for entry in files)
    for snapshot_id, files in connection.execute(select(snapshots.c.id, snapshots.c.files)):
        if snapshot_id not in without:
            needed.update((bytes.fromhex(entry["digest"]), entry["size"]) for entry in files)
    return needed


def freed_bytes(connection: Connection, files_of: Collection[str], gone: Collection[str]) -> int:
    """The size of the contents that nothing has any more once the files of some runs, and the runs ``gone``, are not here."""
    if not files_of and not gone:
        return 0
    freed: dict[str, int] = {}
    needed: set[str] = set()
    for run_id, digest, size in connection.execute(select(artifacts.c.run_id, artifacts.c.digest, artifacts.c.size)):
        if run_id in files_of:
            freed[digest] = size
        else:
            needed.add(digest)
    for files in connection.execute(select(models.c.files)).scalars():
        needed.update(entry["digest"] for entry in files)
    had: dict[bool, set[str]] = {True: set(), False: set()}
    for run_id, snapshot_id in connection.execute(select(runs.c.id, runs.c.snapshot)):
        had[run_id in gone].add(snapshot_id)
    lost = had[True] - had[False]
    for snapshot_id, files in connection.execute(select(snapshots.c.id, snapshots.c.files)):
        if snapshot_id in lost:
            freed.update((entry["digest"], entry["size"]) for entry in files)
        else:
            needed.update(entry["digest"] for entry in files)
    return sum(size for digest, size in freed.items() if digest not in needed)


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


def has_any_below(connection: Connection, run_id: str, folder: str) -> bool:
    """Whether the run has a file in the folder, which has a "/" at its end. The first one that is found is enough."""
    here = (artifacts.c.run_id == run_id, func.substr(artifacts.c.path, 1, len(folder)) == folder)
    return connection.execute(select(artifacts.c.path).where(*here).limit(1)).first() is not None


def some_of_run(connection: Connection, run_id: str, paths: Iterable[str]) -> list[FileEntry]:
    """Those of the run's files whose paths are named; a path that is not there is left out."""
    wanted = list(dict.fromkeys(paths))
    found: dict[str, FileEntry] = {}
    for some in portions(wanted):
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
