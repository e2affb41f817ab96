"""The one row of the workspace."""

from typing import Any

from sqlalchemy import Connection, insert, select, update

from runyard_server.records.tables import workspace as t


def ensure(connection: Connection, workspace_id: str, name: str, now: float) -> None:
    """Makes the row if there is none yet; call inside ``write``."""
    if connection.execute(select(t.c.id)).first() is None:
        connection.execute(insert(t).values(id=workspace_id, name=name, created_at=now, settings={}))


def get(connection: Connection) -> dict[str, Any]:
    row = connection.execute(select(t)).mappings().one()
    return {"id": row["id"], "name": row["name"], "created_at": row["created_at"], **row["settings"]}


def change(connection: Connection, changes: dict[str, Any]) -> None:
    settings = dict(connection.execute(select(t.c.settings)).scalar_one())
    settings.update(changes)
    connection.execute(update(t).values(settings=settings))
