"""Rows of metrics: packed chunks of points, entries, and one summary per metric."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Select, bindparam, delete, func, insert, select, update

from runyard.errors import UnknownRunError
from runyard_server.domain.metric_chunks import Chunk, Summary
from runyard_server.domain.spool_lines import SCALAR
from runyard_server.records.tables import metric_chunks, metric_entries, metric_summaries, runs

_AT_ONCE = 500  # names or ids in one IN list


@dataclass(frozen=True)
class EntryRow:
    """One entry; ``value`` is JSON text."""

    name: str
    type: str
    at: float
    value: str
    step: int | None = None


@dataclass(frozen=True)
class MetricSummary:
    """A metric of a run: its (first) type, and its numbers at a glance."""

    name: str
    type: str
    summary: Summary
    description: str | None = None


def lock_run(connection: Connection, run_id: str) -> None:
    """Lets one transaction at a time add to this run's metrics.

    Raises:
        UnknownRunError: there is no such run.
    """
    # FOR NO KEY UPDATE: rows that refer to the run may still be added by others.
    query = select(runs.c.id).where(runs.c.id == run_id).with_for_update(key_share=True)
    if connection.execute(query).first() is None:
        raise _unknown(run_id)


def add_chunks(connection: Connection, run_id: str, chunks: Sequence[tuple[str, Chunk]]) -> None:
    """Appends chunks, each with its metric's name."""
    if chunks:
        connection.execute(insert(metric_chunks), [{"run_id": run_id, "name": n, **asdict(c)} for n, c in chunks])


def add_entries(connection: Connection, run_id: str, entries: Sequence[EntryRow]) -> None:
    """Appends entries in this order."""
    if entries:
        connection.execute(insert(metric_entries), [{"run_id": run_id, **asdict(entry)} for entry in entries])


def small_tail(connection: Connection, run_id: str, name: str, small: int, limit: int) -> list[tuple[int, Chunk]]:
    """The newest chunks of a metric back to the first with ``small`` points or more, oldest first, with their ids."""
    query = (
        select(metric_chunks.c.id, metric_chunks.c.kind, metric_chunks.c.count, metric_chunks.c.data)
        .where(metric_chunks.c.run_id == run_id, metric_chunks.c.name == name)
        .order_by(metric_chunks.c.id.desc())
        .limit(limit)
    )
    tail = []
    with connection.execute(query) as rows:
        for id_, kind, count, data in rows:
            if count >= small:
                break
            tail.append((id_, Chunk(kind, count, data)))
    return tail[::-1]


def delete_chunks(connection: Connection, ids: Sequence[int]) -> None:
    """Deletes chunks that were merged."""
    for some in _split(ids):
        connection.execute(delete(metric_chunks).where(metric_chunks.c.id.in_(some)))


def chunks(connection: Connection, run_ids: Sequence[str], name: str | None) -> Iterator[tuple[str, str, Chunk]]:
    """Run id, metric and chunk, the chunks of one metric in their order."""
    columns = metric_chunks.c
    query = select(columns.run_id, columns.name, columns.kind, columns.count, columns.data)
    for row in _each(connection, query, metric_chunks, run_ids, name):
        yield row[0], row[1], Chunk(row[2], row[3], row[4])


def newest_chunk(connection: Connection, run_id: str, name: str) -> Chunk | None:
    columns = metric_chunks.c
    query = select(columns.kind, columns.count, columns.data).where(columns.run_id == run_id, columns.name == name)
    row = connection.execute(query.order_by(columns.id.desc()).limit(1)).first()
    return None if row is None else Chunk(*row)


def last_points(
    connection: Connection, run_ids: Sequence[str], names: Sequence[str] | None = None
) -> Iterator[tuple[str, str, Chunk]]:
    """Run id, metric and a chunk of its last point, of these metrics only or of all."""
    columns = metric_chunks.c
    # The last number of each column, cut out where the chunk lies: chunks of a long metric are large.
    ends = [func.substr(columns.data, 8 * columns.count * column - 7, 8) for column in (1, 2, 3)]
    flag = func.substr(columns.data, 25 * columns.count, 1)
    for some in _split(run_ids):
        for some_names in _split(names) if names is not None else [None]:
            newest = select(func.max(columns.id)).where(columns.run_id.in_(some))
            if some_names is not None:
                newest = newest.where(columns.name.in_(some_names))
            newest = newest.group_by(columns.run_id, columns.name)
            query = select(columns.run_id, columns.name, columns.kind, *ends, flag).where(columns.id.in_(newest))
            for run_id, name, kind, *parts in connection.execute(query):
                yield run_id, name, Chunk(kind, 1, b"".join(parts))


def entries(connection: Connection, run_ids: Sequence[str], name: str | None) -> Iterator[tuple[str, EntryRow]]:
    """Run id and entry, the entries of one metric in their order."""
    columns = metric_entries.c
    query = select(columns.run_id, columns.name, columns.type, columns.at, columns.value, columns.step)
    for row in _each(connection, query, metric_entries, run_ids, name):
        yield row[0], EntryRow(*row[1:])


def _each(
    connection: Connection, query: Select[Any], table: Any, run_ids: Sequence[str], name: str | None
) -> Iterator[Sequence[Any]]:
    if name is not None:
        query = query.where(table.c.name == name)
    for some in _split(run_ids):
        yield from connection.execute(
            query.where(table.c.run_id.in_(some)).order_by(table.c.run_id, table.c.name, table.c.id)
        )


def summaries(
    connection: Connection, run_ids: Sequence[str], names: Sequence[str] | None = None
) -> dict[str, dict[str, MetricSummary]]:
    """Summaries by run and metric, in order of name; of these metrics only, or of all."""
    columns = metric_summaries.c
    found: dict[str, dict[str, MetricSummary]] = {}
    for some_runs in _split(run_ids):
        for some_names in _split(names) if names is not None else [None]:
            query = select(metric_summaries).where(columns.run_id.in_(some_runs)).order_by(columns.name)
            if some_names is not None:
                query = query.where(columns.name.in_(some_names))
            for row in connection.execute(query).mappings():
                summary = Summary(**{key: row[key] for key in Summary.__dataclass_fields__})
                found.setdefault(row["run_id"], {})[row["name"]] = MetricSummary(
                    row["name"], row["type"], summary, row["description"]
                )
    return found


def usual_names(connection: Connection, run_ids: Sequence[str], limit: int) -> list[str]:
    """Names of metrics with numbers, those that most of the runs have first."""
    columns = metric_summaries.c
    query = select(columns.name).where(columns.run_id.in_(run_ids), columns.type == SCALAR)
    query = query.group_by(columns.name).order_by(func.count().desc(), columns.name).limit(limit)
    return list(connection.execute(query).scalars())


def save_summaries(
    connection: Connection, run_id: str, before: Mapping[str, MetricSummary], after: Sequence[MetricSummary]
) -> None:
    """Writes summaries: those in ``before`` have a row already."""
    values = [
        {"name": one.name, "type": one.type, "description": one.description, **asdict(one.summary)} for one in after
    ]
    new = [{"run_id": run_id, **row} for row in values if row["name"] not in before]
    known = [{f"new_{key}": value for key, value in row.items()} for row in values if row["name"] in before]
    if new:
        connection.execute(insert(metric_summaries), new)
    if known:
        here = (metric_summaries.c.run_id == run_id, metric_summaries.c.name == bindparam("new_name"))
        changes: dict[str, Any] = {key: bindparam(f"new_{key}") for key in values[0] if key != "name"}
        connection.execute(update(metric_summaries).where(*here).values(changes), known)


def family(connection: Connection, run_id: str, run_type: str | None) -> list[str]:
    """The run and all below it, oldest first within each level; only those of ``run_type`` if one is given."""
    found: list[str] = []
    level = list(connection.execute(select(runs.c.id, runs.c.type).where(runs.c.id == run_id)))
    if not level:
        raise _unknown(run_id)
    while level:
        found += [id_ for id_, type_ in level if run_type is None or type_ == run_type]
        above = [id_ for id_, _ in level]
        level = []
        for some in _split(above):
            query = select(runs.c.id, runs.c.type).where(runs.c.parent_id.in_(some)).order_by(runs.c.created_at)
            level += list(connection.execute(query))
    return found


def _unknown(run_id: str) -> UnknownRunError:
    return UnknownRunError(f"There is no run {run_id!r} in this workspace. `runyard run list` shows those that are.")


def _split(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _AT_ONCE):
        yield items[start : start + _AT_ONCE]
