"""Rows of registered environments, and of the locks that specs were resolved to."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from runyard.protocol.codec import from_json, to_json
from runyard.protocol.environments import EnvironmentLock, EnvironmentRecord, EnvironmentSpec
from runyard.protocol.status import RunStatus
from runyard_server.records.tables import environment_locks, environments, runs

_UNFINISHED = [status.value for status in RunStatus if not status.is_terminal]


def add(connection: Connection, record: EnvironmentRecord) -> None:
    """Inserts a version. Raises IntegrityError where it is there already."""
    connection.execute(
        insert(environments).values(
            name=record.name, version=record.version, spec=to_json(record.spec), created_at=record.created_at
        )
    )


def versions(connection: Connection, name: str) -> Sequence[EnvironmentRecord]:
    """All versions of a name, the oldest first."""
    rows = connection.execute(select(environments).where(environments.c.name == name)).mappings()
    return sorted((_record(row) for row in rows), key=_age)


def latest(connection: Connection) -> Sequence[EnvironmentRecord]:
    """The newest version of each name, by name."""
    newest: dict[str, EnvironmentRecord] = {}
    rows = connection.execute(select(environments)).mappings()
    for record in sorted((_record(row) for row in rows), key=_age):
        newest[record.name] = record
    return [newest[name] for name in sorted(newest)]


def get_lock(connection: Connection, spec_digest: str) -> EnvironmentLock | None:
    row = connection.execute(
        select(environment_locks.c.lock).where(environment_locks.c.spec_digest == spec_digest)
    ).first()
    return from_json(EnvironmentLock, row[0]) if row else None


def get_lock_by_key(connection: Connection, key: str) -> EnvironmentLock | None:
    """Any lock with that key; several specs may have come to the same."""
    statement = (
        select(environment_locks.c.lock)
        .where(environment_locks.c.key == key)
        .order_by(environment_locks.c.created_at, environment_locks.c.spec_digest)
        .limit(1)
    )
    row = connection.execute(statement).first()
    return from_json(EnvironmentLock, row[0]) if row else None


def put_lock(connection: Connection, spec_digest: str, lock: EnvironmentLock, now: float) -> EnvironmentLock:
    """Keeps the lock of a spec; gives what is kept, which is an earlier one if there is one."""
    connection.execute(
        _insert_ignoring(connection).values(spec_digest=spec_digest, key=lock.key, lock=to_json(lock), created_at=now)
    )
    kept = get_lock(connection, spec_digest)
    assert kept is not None
    return kept


def keys_in_use(connection: Connection) -> frozenset[str]:
    """Keys of the environments of all runs that have not ended."""
    statement = select(runs.c.environment_key).where(
        runs.c.status.in_(_UNFINISHED), runs.c.environment_key.is_not(None)
    )
    return frozenset(key for (key,) in connection.execute(statement.distinct()))


def _insert_ignoring(connection: Connection) -> Any:
    if connection.dialect.name == "postgresql":
        return postgresql_insert(environment_locks).on_conflict_do_nothing()
    return sqlite_insert(environment_locks).on_conflict_do_nothing()


def _record(row: RowMapping) -> EnvironmentRecord:
    return EnvironmentRecord(
        name=row["name"],
        version=row["version"],
        spec=from_json(EnvironmentSpec, row["spec"]),
        created_at=row["created_at"],
    )


def _age(record: EnvironmentRecord) -> tuple[float, int, str]:
    number = int(record.version) if record.version.isdecimal() else -1
    return record.created_at, number, record.version
