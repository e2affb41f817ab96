"""How much of each stream of a run is stored, and how much its writer says it wrote."""

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, insert, select, update

from runyard_server.records.tables import streams as t

# Made once: what is asked with each piece of each stream takes longer to put together than to answer.
_HERE = (t.c.run_id == bindparam("of_run"), t.c.name == bindparam("called"))
_GET = select(t.c.name, t.c.stored, t.c.written, t.c.records).where(*_HERE)
_SET_STORED = update(t).where(*_HERE).values(stored=bindparam("new_stored"), records=bindparam("new_records"))
_ADD = insert(t)


@dataclass(frozen=True)
class StreamRow:
    """One stream: bytes stored, bytes written (None while unknown), records in it."""

    name: str
    stored: int
    written: int | None
    records: int


def of_run(connection: Connection, run_id: str) -> list[StreamRow]:
    rows = connection.execute(select(t).where(t.c.run_id == run_id).order_by(t.c.name)).mappings()
    return [StreamRow(row["name"], row["stored"], row["written"], row["records"]) for row in rows]


def get(connection: Connection, run_id: str, name: str) -> StreamRow | None:
    row = connection.execute(_GET, {"of_run": run_id, "called": name}).first()
    return StreamRow(*row) if row else None


def set_stored(connection: Connection, run_id: str, name: str, stored: int, records: int) -> None:
    """Moves the high-water mark; call inside the transaction that stores the bytes' meaning."""
    new = {"of_run": run_id, "called": name, "new_stored": stored, "new_records": records}
    if connection.execute(_SET_STORED, new).rowcount == 0:
        row = {"run_id": run_id, "name": name, "stored": stored, "written": None, "records": records}
        connection.execute(_ADD, row)


def set_written(connection: Connection, run_id: str, written: dict[str, int]) -> None:
    """Notes what the writers say they wrote in all, in bytes by stream name."""
    for name, size in written.items():
        changed = connection.execute(update(t).where(t.c.run_id == run_id, t.c.name == name).values(written=size))
        if changed.rowcount == 0:
            connection.execute(_ADD, {"run_id": run_id, "name": name, "stored": 0, "written": size, "records": 0})
