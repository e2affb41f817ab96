"""Backups: the records as they were at one moment and every object that they name, taken while the server runs.

A folder of backups holds ``objects`` (by digest: what is there in its size is not copied again), ``datastores``, and
for the newest backup its records (always a SQLite file, whatever the server's database is) and its logs of runs that
had not ended.
``backup.json`` names these two and is put in place last: a backup that was killed halfway leaves the one before.
"""

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import create_engine, insert, select, text

from runyard.errors import ServiceException, UserErrorException
from runyard.protocol.runs import RunError
from runyard.protocol.status import Reason, RunStatus
from runyard_server.artifacts.locks import held
from runyard_server.artifacts.store import CLEANING_LOCK, FolderStore, is_digest_of
from runyard_server.domain.clock import SystemClock
from runyard_server.records import files as file_records
from runyard_server.records import migrate, runs
from runyard_server.records.engine import Database, create_all
from runyard_server.records.tables import metadata
from runyard_server.records.tables import runs as run_table
from runyard_server.services.datastores import INCOMING
from runyard_server.services.files import FileService
from runyard_server.services.hub import Hub
from runyard_server.services.logs import LogService
from runyard_server.services.verification import VerificationService

MANIFEST = "backup.json"
IDENTITY = "workspace.json"
LOCK = "backup.lock"
_HALF_COPIED = re.compile(r"\.[0-9a-f]{32}\.new")
_ROWS = 1000
_NOT_ENDED = "It had not ended when the backup was made of which this workspace was restored."
_LEFT_BY_KILLED = re.compile(
    r"records\.[0-9a-f]{12}\.db(-journal|-wal|-shm)?|logs\.[0-9a-f]{12}|backup\.json\.[0-9a-f]{12}"
)


@dataclass(frozen=True)
class Backup:
    """What a folder's newest backup is. ``records`` and ``logs`` are names in the folder.

    ``left_out``: what datastores hold besides files and folders of their own: links that lead out, pipes, sockets.
    """

    tables: str
    made_at: float
    records: str
    records_sha256: str
    logs: str
    objects: int
    copied_objects: int
    copied_bytes: int
    left_out: int = 0


@dataclass(frozen=True)
class Restored:
    """What came back; ``faults`` says what is not as it was when it was written."""

    runs: int
    objects: int
    faults: Sequence[str]


def save(database: Database, home: Path, folder: Path) -> Backup:
    """Adds a backup of the home to the folder, in place of the one before.

    Raises:
        ServiceException: a clean-up or another backup into the folder goes on, or an object that the records name is
            damaged.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone_in(folder):
        return _save(database, home, folder)


def _save(database: Database, home: Path, folder: Path) -> Backup:
    made_at, mark = SystemClock().now(), uuid.uuid4().hex[:12]
    records, logs = folder / f"records.{mark}.db", folder / f"logs.{mark}"
    with _no_clean_up(home / "objects"):
        # Before the records and after: a run may end between, and its logs become files.
        _copy_tree(home / "logs", logs)
        tables = _copy_records(database, records)
        _copy_tree(home / "logs", logs)
        needed = _needed(records)
        store = FolderStore(folder / "objects", sync=True)
        try:
            copied, size_bytes = _copy_objects(home / "objects", store, needed)
        finally:
            store.close()
    left_out = _mirror_datastores(home / "datastores", folder / "datastores")
    with suppress(FileNotFoundError):
        shutil.copyfile(home / IDENTITY, folder / IDENTITY)
    backup = Backup(
        tables, made_at, records.name, _sha256(records), logs.name, len(needed), copied, size_bytes, left_out
    )
    unfinished = folder / f"{MANIFEST}.{mark}"
    with open(unfinished, "w", encoding="utf-8") as out:
        json.dump(asdict(backup), out)
        out.flush()
        os.fsync(out.fileno())
    os.replace(unfinished, folder / MANIFEST)
    for left in folder.iterdir():
        if left.name not in (backup.records, backup.logs) and _LEFT_BY_KILLED.fullmatch(left.name):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    return backup


def restore(folder: Path, home: Path, verify: bool) -> Restored:
    """Makes a new home of a folder's newest backup. Every object is hashed on its way.

    Args:
        verify: each run that had ended is proved too: what it wrote is what is stored.
    Raises:
        UserErrorException: there is no whole backup, or something lies at ``home`` already.
        ServiceException: a newer runyard made it.
    """
    backup = _read(folder)
    if home.exists() and any(home.iterdir()):
        raise UserErrorException(f"{home} is not empty. A backup is restored into a new home: name another workspace.")
    fresh = home.with_name(f"{home.name}.{uuid.uuid4().hex[:8]}.new")
    fresh.mkdir(mode=0o700, parents=True)
    try:
        shutil.copyfile(folder / backup.records, fresh / "records.db")
        (fresh / "records.db").chmod(0o600)
        if _sha256(fresh / "records.db") != backup.records_sha256:
            raise UserErrorException(
                f"{folder / backup.records} is damaged: its bytes are not those that were written."
            )
        _migrate(fresh / "records.db")
        needed = _needed(fresh / "records.db")
        store = FolderStore(fresh / "objects", sync=True)
        faults = []
        for digest in sorted(needed):
            try:
                _copy_object(folder / "objects", store, digest)
            except ServiceException as fault:
                faults.append(str(fault))
        store.close()
        _copy_tree(folder / backup.logs, fresh / "logs")
        _mirror_datastores(folder / "datastores", fresh / "datastores")
        with suppress(FileNotFoundError):
            shutil.copyfile(folder / IDENTITY, fresh / IDENTITY)
        count, found = _verify(fresh, verify)
        _end_unfinished(fresh / "records.db")
        if home.exists():
            home.rmdir()
        os.replace(fresh, home)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return Restored(count, len(needed), [*faults, *found])


def _read(folder: Path) -> Backup:
    try:
        return Backup(**json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserErrorException(
            f"There is no whole backup in {folder}. `runyard backup {folder}` makes one."
        ) from None
    except (ValueError, TypeError) as fault:
        raise UserErrorException(f"{folder / MANIFEST} cannot be read: {fault}. Is it another version's?") from fault


def _alone_in(folder: Path) -> AbstractContextManager[None]:
    busy = f"Another backup into {folder} goes on. Make this one when it has ended, or name another folder."
    return held(folder / LOCK, ServiceException(busy))


def _no_clean_up(objects: Path) -> AbstractContextManager[None]:
    objects.mkdir(mode=0o700, parents=True, exist_ok=True)
    busy = "A clean-up of this workspace goes on. Make the backup when it has ended."
    return held(objects / CLEANING_LOCK, ServiceException(busy), shared=True)


def _copy_records(database: Database, target: Path) -> str:
    """Writes all rows, as one transaction sees them, to a new SQLite file; gives the version of the tables."""
    copy = create_engine(f"sqlite:///{target}")
    create_all(copy)
    source = database.engine  # a transaction of SQLite sees one moment
    if not database.is_sqlite:
        source = source.execution_options(isolation_level="REPEATABLE READ")
    try:
        with source.connect() as reading, copy.begin() as writing:
            version = migrate.current(reading)
            if version != migrate.HEAD:
                raise ServiceException(
                    f"The records are of version {version or 'none'}, and this runyard writes {migrate.HEAD}. Start the "
                    "server once, then make the backup."
                )
            writing.execute(
                text(f"CREATE TABLE {migrate.VERSION_TABLE} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
            )
            writing.execute(text(f"INSERT INTO {migrate.VERSION_TABLE} VALUES (:version)"), {"version": version})
            for table in metadata.sorted_tables:
                rows = reading.execution_options(yield_per=_ROWS).execute(select(table))
                for some in rows.mappings().partitions(_ROWS):
                    writing.execute(insert(table), [dict(row) for row in some])
    finally:
        copy.dispose()
    target.chmod(0o600)
    return version


def _migrate(records: Path) -> None:
    """Brings the records of an older version's backup to this one's tables; raises ServiceException for a newer one's."""
    database = Database(f"sqlite:///{records}")
    try:
        migrate.upgrade(database)
    finally:
        database.close()
    for kept in records.parent.glob("records.*.db"):
        kept.unlink()  # as they were before: so they are in the backup


def _needed(records: Path) -> dict[str, int]:
    """The digest and size of every object that the records name."""
    database = Database(f"sqlite:///{records}")
    try:
        with database.read() as connection:
            return {digest.hex(): size for digest, size in file_records.needed_sizes(connection).items()}
    finally:
        database.close()


def _copy_objects(source: Path, store: FolderStore, needed: Mapping[str, int]) -> tuple[int, int]:
    copied = size_bytes = 0
    for digest, size in sorted(needed.items()):
        if store.size(digest) != size:  # of another size it is no whole copy: a disk lost it, or somebody wrote there
            size_bytes += _copy_object(source, store, digest)
            copied += 1
    return copied, size_bytes


def _copy_object(source: Path, store: FolderStore, digest: str) -> int:
    """Copies one object; what is kept has the digest, or is not kept. Gives its size in bytes."""
    path = source / digest[:2] / digest[2:]
    try:
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise ServiceException(f"The object {digest} is missing from {source}.") from None
    try:
        incoming = store.begin()
        size = incoming.copy(opened, os.fstat(opened).st_size)
        if incoming.digest() != digest and not is_digest_of(digest, path):
            incoming.discard()
            raise ServiceException(
                f"The object {digest} in {source} is damaged: it has other bytes than its name says."
            )
        store.keep(incoming, digest)
    finally:
        os.close(opened)
    return size


def _copy_tree(source: Path, target: Path) -> None:
    """Copies files that are not there as they are here, each whole; what vanishes meanwhile is left as it was."""
    for folder, _, names in os.walk(source):
        place = target / Path(folder).relative_to(source)
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in names:
            file = Path(folder) / name
            if not file.is_symlink():  # else it leads to what is not the workspace's
                _copy_file(file, place / name)


def _mirror_datastores(source: Path, target: Path) -> int:
    """Makes the target's datastores what the source's are; gives how much was left out. A root may be a link."""
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    roots = {entry.name: entry for entry in source.iterdir()} if source.is_dir() else {}
    for copy in list(target.iterdir()):
        if copy.name not in roots:
            _remove(copy)
    left_out = 0
    for name, root in roots.items():
        if root.is_dir():
            real = root.resolve()
            left_out += _mirror(real, target / name, real)
        else:
            left_out += 1  # its disk may be away: what was saved of it stays
    return left_out


def _mirror(source: Path, target: Path, root: Path) -> int:
    """Makes one folder what another is, without what uploads and backups have not finished there."""
    if target.is_symlink() or not target.is_dir():
        _remove(target)
        target.mkdir(mode=0o700)
    left_out, kept = 0, set()
    entries: list[os.DirEntry[str]] = []
    with suppress(FileNotFoundError):
        entries = list(os.scandir(source))
    for entry in entries:
        if entry.name == INCOMING or _HALF_COPIED.fullmatch(entry.name):
            continue
        file, copy = source / entry.name, target / entry.name
        if entry.is_symlink():
            real = Path(os.path.realpath(file))
            if not real.is_relative_to(root):
                left_out += 1
                continue
            _remove(copy)
            copy.symlink_to(os.path.relpath(real, source))
        elif entry.is_dir():
            left_out += _mirror(file, copy, root)
        elif entry.is_file():
            if not _copy_file(file, copy):
                continue
        else:
            left_out += 1
            continue
        kept.add(entry.name)
    for copy in list(target.iterdir()):
        if copy.name not in kept:
            _remove(copy)
    return left_out


def _copy_file(file: Path, copy: Path) -> bool:
    """Copies a file whole unless it is there as it is here; whether it is there now: it may vanish meanwhile."""
    unfinished = copy.with_name(f".{uuid.uuid4().hex}.new")
    try:
        state = file.stat()
        if copy.is_symlink() or not copy.is_file():
            _remove(copy)
        else:
            there = copy.stat()
            if (there.st_size, there.st_mtime_ns) == (state.st_size, state.st_mtime_ns):
                return True
        shutil.copy2(file, unfinished)
    except FileNotFoundError:
        return False
    os.replace(unfinished, copy)
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _verify(home: Path, prove: bool) -> tuple[int, list[str]]:
    """The number of runs; what is wrong with those that had ended."""
    database = Database(f"sqlite:///{home / 'records.db'}")
    store = FolderStore(home / "objects")
    try:
        files = FileService(database, SystemClock(), store)
        proofs = VerificationService(database, LogService(home / "logs", database, Hub()), files)
        with database.read() as connection:
            ids = list(connection.execute(select(run_table.c.id)).scalars())
            ended = [run.id for run in runs.get_many(connection, ids) if run.status.is_terminal]
        return len(ids), [
            f"{run_id}: {said}" for run_id in (ended if prove else ()) for said in _faults(proofs, run_id)
        ]
    finally:
        store.close()
        database.close()


def _end_unfinished(records: Path) -> None:
    """Ends what had not ended: its jobs, if there are any still, are the workspace's that was saved."""
    database = Database(f"sqlite:///{records}")
    try:
        with database.write() as connection:
            for run_id, _ in runs.unfinished_versions(connection):
                for attempt in {job.attempt for job in runs.all_jobs_of(connection, run_id)}:
                    runs.remove_jobs(connection, run_id, attempt)
                error = RunError(code=Reason.JOB_LOST.value, message=_NOT_ENDED)
                now = SystemClock().now()
                runs.move(connection, run_id, RunStatus.FAILED, Reason.JOB_LOST, now, message=_NOT_ENDED, error=error)
    finally:
        database.close()


def _faults(proofs: VerificationService, run_id: str) -> list[str]:
    said = proofs.verify(run_id)
    if said["ok"]:
        return []
    short = [each["name"] for each in said["streams"] if each["written"] not in (None, each["stored"])]
    return [f"{name} is damaged or missing" for name in [*said["files"]["damaged"], *short]] or ["it cannot be proved"]


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
