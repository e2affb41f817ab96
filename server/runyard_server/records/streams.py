"""How much of each stream of a run is stored, and how much its writer says it wrote."""

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from runyard_server.records.tables import streams as t


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


def get(connection: Connection, run_id: str, name: str, lock: bool = False) -> StreamRow | None:
    """The stream; ``lock`` keeps other writers of it away until the transaction ends."""
    query = select(t).where(t.c.run_id == run_id, t.c.name == name)
    if lock and connection.dialect.name == "postgresql":
        query = query.with_for_update()
    row = connection.execute(query).mappings().first()
    return StreamRow(row["name"], row["stored"], row["written"], row["records"]) if row else None


def set_stored(connection: Connection, run_id: str, name: str, stored: int, records: int) -> None:
    """Moves the high-water mark; call inside the transaction that stores the bytes' meaning."""
    changed = connection.execute(
        update(t).where(t.c.run_id == run_id, t.c.name == name).values(stored=stored, records=records)
    )
    if changed.rowcount == 0:
        connection.execute(insert(t).values(run_id=run_id, name=name, stored=stored, written=None, records=records))


def set_written(connection: Connection, run_id: str, written: dict[str, int]) -> None:
    """Notes what the writers say they wrote in all, in bytes by stream name."""
    for name, size in written.items():
        changed = connection.execute(update(t).where(t.c.run_id == run_id, t.c.name == name).values(written=size))
        if changed.rowcount == 0:
            connection.execute(insert(t).values(run_id=run_id, name=name, stored=0, written=size, records=0))
