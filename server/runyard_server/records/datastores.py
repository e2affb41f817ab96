"""Rows of datastores, and of what is known of their files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from runyard.protocol.datastores import DatastoreRecord
from runyard_server.records.portions import portions
from runyard_server.records.tables import datastore_files, datastores
from runyard_server.records.upserts import put


@dataclass(frozen=True)
class KnownFile:
    """A file's digest, and the size in bytes and modification time that it had when it was hashed."""

    path: str
    size: int
    modified_ns: int
    digest: str


def get(connection: Connection, name: str) -> DatastoreRecord | None:
    row = connection.execute(select(datastores).where(datastores.c.name == name)).first()
    return None if row is None else _record(row)


def list_all(connection: Connection) -> list[DatastoreRecord]:
    """Every datastore, by name."""
    return [_record(row) for row in connection.execute(select(datastores).order_by(datastores.c.name))]


def add(connection: Connection, record: DatastoreRecord) -> None:
    connection.execute(
        insert(datastores).values(
            name=record.name, kind=record.kind, is_default=record.is_default, settings=record.settings
        )
    )


def change(connection: Connection, name: str, **values: Any) -> None:
    connection.execute(update(datastores).where(datastores.c.name == name).values(**values))


def set_default(connection: Connection, name: str) -> None:
    """Makes ``name`` the default, and no other."""
    connection.execute(update(datastores).values(is_default=datastores.c.name == name))


def remove(connection: Connection, name: str) -> None:
    forget_files(connection, name)
    connection.execute(delete(datastores).where(datastores.c.name == name))


def known_files(connection: Connection, name: str, paths: Iterable[str]) -> dict[str, KnownFile]:
    """What is known of those of ``paths`` that were hashed once."""
    found = {}
    for some in portions(list(paths)):
        query = select(datastore_files).where(datastore_files.c.datastore == name, datastore_files.c.path.in_(some))
        for row in connection.execute(query):
            found[row.path] = KnownFile(row.path, row.size, row.modified_ns, row.digest)
    return found


def remember_files(connection: Connection, name: str, files: Sequence[KnownFile]) -> None:
    put(
        connection,
        datastore_files,
        [
            {
                "datastore": name,
                "path": file.path,
                "size": file.size,
                "modified_ns": file.modified_ns,
                "digest": file.digest,
            }
            for file in files
        ],
    )


def forget_files(connection: Connection, name: str) -> None:
    connection.execute(delete(datastore_files).where(datastore_files.c.datastore == name))


def _record(row: Any) -> DatastoreRecord:
    return DatastoreRecord(name=row.name, kind=row.kind, is_default=row.is_default, settings=dict(row.settings))
