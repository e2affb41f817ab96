"""Rows of the datasets that a workspace keeps."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, insert, select, tuple_, update

from runyard.protocol.codec import from_json, to_json
from runyard.protocol.datasets import DatasetDefinition, DatasetRecord
from runyard_server.records.tables import datasets

_REGISTERED = datasets.c.name.is_not(None), datasets.c.unregistered_at.is_(None)


def add(connection: Connection, record: DatasetRecord) -> None:
    """Inserts a dataset. Raises IntegrityError where its id, or its version of its name, is there already."""
    connection.execute(insert(datasets).values(**to_json(record)))


def find(connection: Connection, dataset_id: str) -> DatasetRecord | None:
    """The dataset of that id, also one that was unregistered since."""
    row = connection.execute(select(datasets).where(datasets.c.id == dataset_id)).mappings().first()
    return _record(row) if row else None


def get(connection: Connection, name: str, version: int | None = None) -> DatasetRecord | None:
    """One registered version of a name, the newest where ``version`` is None."""
    query = select(datasets).where(datasets.c.name == name, *_REGISTERED)
    if version is not None:
        query = query.where(datasets.c.version == version)
    row = connection.execute(query.order_by(datasets.c.version.desc()).limit(1)).mappings().first()
    return _record(row) if row else None


def latest(connection: Connection) -> Sequence[DatasetRecord]:
    """The newest version of each registered name, by name."""
    newest = select(datasets.c.name, func.max(datasets.c.version)).where(*_REGISTERED).group_by(datasets.c.name)
    query = select(datasets).where(tuple_(datasets.c.name, datasets.c.version).in_(newest)).order_by(datasets.c.name)
    return [_record(row) for row in connection.execute(query).mappings()]


def versions(connection: Connection, name: str) -> Sequence[DatasetRecord]:
    """All registered versions of a name, the oldest first."""
    query = select(datasets).where(datasets.c.name == name, *_REGISTERED).order_by(datasets.c.version)
    return [_record(row) for row in connection.execute(query).mappings()]


def of_run(connection: Connection, run_id: str) -> Sequence[DatasetRecord]:
    """What a run registered, the oldest first."""
    query = select(datasets).where(datasets.c.run_id == run_id).order_by(datasets.c.created_at, datasets.c.id)
    return [_record(row) for row in connection.execute(query).mappings()]


def last_version(connection: Connection, name: str) -> int:
    """The newest version number that the name ever had, 0 for none: numbers are never given again."""
    query = select(func.max(datasets.c.version)).where(datasets.c.name == name)
    return int(connection.execute(query).scalar() or 0)


def change(connection: Connection, dataset_id: str, values: Mapping[str, Any]) -> None:
    connection.execute(update(datasets).where(datasets.c.id == dataset_id).values(**values))


def unregister(connection: Connection, name: str, now: float) -> int:
    """Takes all versions of a name from the lists; gives their number."""
    query = update(datasets).where(datasets.c.name == name, datasets.c.unregistered_at.is_(None))
    return int(connection.execute(query.values(unregistered_at=now)).rowcount)


def _record(row: Mapping[Any, Any]) -> DatasetRecord:
    values = {key: value for key, value in row.items() if key != "unregistered_at"}
    values["definition"] = from_json(DatasetDefinition, values["definition"])
    return DatasetRecord(**values)
