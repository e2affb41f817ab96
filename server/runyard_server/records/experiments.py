"""Rows of experiments."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from runyard.protocol.experiments import ExperimentRecord
from runyard_server.records.portions import portions
from runyard_server.records.tables import experiments as t

_BY_NAME = select(t).where(t.c.name == bindparam("wanted"))
_NEXT_NUMBER = (
    update(t).where(t.c.id == bindparam("wanted")).values(last_number=t.c.last_number + 1).returning(t.c.last_number)
)


def get_by_name(connection: Connection, name: str) -> ExperimentRecord | None:
    row = connection.execute(_BY_NAME, {"wanted": name}).mappings().first()
    return _record(row) if row else None


def get(connection: Connection, experiment_id: str) -> ExperimentRecord | None:
    row = connection.execute(select(t).where(t.c.id == experiment_id)).mappings().first()
    return _record(row) if row else None


def get_many(connection: Connection, ids: Sequence[str] = (), names: Sequence[str] = ()) -> Sequence[ExperimentRecord]:
    """Those of these ids, or names, that are here, in no order."""
    found = []
    for column, wanted in ((t.c.id, ids), (t.c.name, names)):
        for some in portions(wanted):
            query = select(t).where(column.in_(some))
            found += [_record(row) for row in connection.execute(query).mappings()]
    return found


def get_or_create(connection: Connection, name: str, now: float) -> ExperimentRecord:
    """The experiment of that name; call inside ``write``."""
    found = get_by_name(connection, name) or create(connection, name, now, {})
    if found is None:  # somebody was quicker
        found = get_by_name(connection, name)
        assert found is not None
    return found


def create(
    connection: Connection, name: str, now: float, tags: dict[str, str], experiment_id: str | None = None
) -> ExperimentRecord | None:
    """A new experiment; None where one of that name or id is here. Call inside ``write``."""
    record = ExperimentRecord(id=experiment_id or str(uuid.uuid4()), name=name, created_at=now, tags=tags)
    row = {"id": record.id, "name": name, "created_at": now, "tags": tags, "last_number": 0}
    return record if connection.execute(_insert_ignoring(connection).values(**row)).rowcount else None


def list_all(connection: Connection) -> Sequence[ExperimentRecord]:
    rows = connection.execute(select(t).order_by(t.c.created_at)).mappings()
    return [_record(row) for row in rows]


def next_number(connection: Connection, experiment_id: str) -> int:
    """The next run number of the experiment, given once; call inside ``write``."""
    return int(connection.execute(_NEXT_NUMBER, {"wanted": experiment_id}).scalar_one())


def change(connection: Connection, experiment_id: str, values: dict[str, Any]) -> None:
    connection.execute(update(t).where(t.c.id == experiment_id).values(**values))


def remove(connection: Connection, experiment_id: str) -> None:
    connection.execute(delete(t).where(t.c.id == experiment_id))


def _insert_ignoring(connection: Connection) -> Any:
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as pg_insert

        return pg_insert(t).on_conflict_do_nothing()
    return insert(t).prefix_with("OR IGNORE")


def _record(row: Any) -> ExperimentRecord:
    return ExperimentRecord(
        id=row["id"],
        name=row["name"],
        created_at=row["created_at"],
        archived_at=row["archived_at"],
        tags=row["tags"],
        changed_at=row["changed_at"],
    )
