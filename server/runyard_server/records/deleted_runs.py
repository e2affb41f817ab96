"""Rows of deleted runs: that there was such a run, when it was deleted and by whom; its id is never used again."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, insert, select, tuple_

from runyard.protocol.runs import DeletedRun, RunRecord
from runyard.protocol.status import RunStatus
from runyard_server.records.tables import deleted_runs as t

_BY_ID = select(t).where(t.c.id == bindparam("wanted"))


def add(connection: Connection, record: RunRecord, now: float, by: str, reason: str) -> DeletedRun:
    """Writes down that a run is deleted, in the transaction that deletes it."""
    gone = DeletedRun(
        id=record.id,
        experiment=record.experiment,
        number=record.number,
        parent_id=record.parent_id,
        type=record.type,
        status=record.status,
        submitted_by=record.submitted_by,
        created_at=record.created_at,
        ended_at=record.ended_at,
        deleted_at=now,
        deleted_by=by,
        reason=reason,
    )
    connection.execute(insert(t).values({**gone.__dict__, "status": gone.status.value}))
    return gone


def find(connection: Connection, run_id: str) -> DeletedRun | None:
    row = connection.execute(_BY_ID, {"wanted": run_id}).mappings().first()
    return None if row is None else DeletedRun(**{**row, "status": RunStatus(row["status"])})


def newest(connection: Connection, limit: int, before: DeletedRun | None = None) -> Sequence[DeletedRun]:
    """Those that were deleted last, the last one first; of those before ``before`` where it is given."""
    query = select(t).order_by(t.c.deleted_at.desc(), t.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(tuple_(t.c.deleted_at, t.c.id) < (before.deleted_at, before.id))
    return [DeletedRun(**{**row, "status": RunStatus(row["status"])}) for row in connection.execute(query).mappings()]
