"""Rows of metrics: packed chunks of points with their outlines, entries, and one summary per metric."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, bindparam, case, delete, func, insert, select, update

from runyard.errors import UnknownRunError
from runyard.protocol.system_metrics import PREFIX
from runyard_server.domain.metric_chunks import LAST_BYTES, MIXED, SEALED, Chunk, Summary
from runyard_server.domain.metric_curves import Outline
from runyard_server.domain.spool_lines import SCALAR, SYSTEM
from runyard_server.records.portions import portions
from runyard_server.records.tables import metric_chunks, metric_entries, metric_outlines, metric_summaries, runs

_NUMBERS = (SCALAR, SYSTEM)

# Statements of what comes in are made once: it takes longer to put them together than to run them.
_LOCK_RUN = (
    select(runs.c.id)
    .where(runs.c.id == bindparam("of_run"))
    .with_for_update(key_share=True)  # FOR NO KEY UPDATE: rows that refer to the run may still be added by others
)
_ADD_CHUNK = insert(metric_chunks)
_SUMMARY = [metric_summaries.c[key] for key in ("name", "type", "description", *Summary.__dataclass_fields__)]
# Not in order: SQLite would look for the names first then, in all runs that there are.
_SUMMARIES = select(metric_summaries.c.run_id, *_SUMMARY).where(
    metric_summaries.c.run_id.in_(bindparam("of_runs", expanding=True))
)
_SUMMARIES_NAMED = _SUMMARIES.where(metric_summaries.c.name.in_(bindparam("called", expanding=True)))
_SUMMARIES_LOGGED = _SUMMARIES.where(metric_summaries.c.type != SYSTEM)
_NEW_SUMMARY: dict[str, Any] = {column.name: bindparam(f"new_{column.name}") for column in _SUMMARY[1:]}
_ADD_SUMMARY = insert(metric_summaries).values(run_id=bindparam("of_run"), name=bindparam("called"), **_NEW_SUMMARY)
_CHANGE_SUMMARY = (
    update(metric_summaries)
    .where(metric_summaries.c.run_id == bindparam("of_run"), metric_summaries.c.name == bindparam("called"))
    .values(_NEW_SUMMARY)
)


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

    # As ``page`` has it for what is ``Wanted``.

    @property
    def is_drawable(self) -> bool:
        return self.type in _NUMBERS and self.summary.count > 1 and self.summary.max is not None

    @property
    def is_exhibit(self) -> bool:
        return self.type not in _NUMBERS


def lock_run(connection: Connection, run_id: str) -> None:
    """Lets one transaction at a time add to this run's metrics.

    Raises:
        UnknownRunError: there is no such run.
    """
    if connection.execute(_LOCK_RUN, {"of_run": run_id}).first() is None:
        raise _unknown(run_id)


def add_chunks(connection: Connection, run_id: str, chunks: Sequence[tuple[str, Chunk]]) -> None:
    """Appends chunks, each with its metric's name."""
    if chunks:
        connection.execute(_ADD_CHUNK, [{"run_id": run_id, "name": name, **vars(chunk)} for name, chunk in chunks])


def add_entries(connection: Connection, run_id: str, entries: Sequence[EntryRow]) -> None:
    """Appends entries in this order."""
    if entries:
        connection.execute(insert(metric_entries), [{"run_id": run_id, **vars(entry)} for entry in entries])


def add_sealed(connection: Connection, run_id: str, name: str, chunk: Chunk, outline: Outline | None) -> None:
    """Appends a chunk that grows no more, with its outline if it has one."""
    values = {"run_id": run_id, "name": name, **vars(chunk)}
    chunk_id = connection.execute(insert(metric_chunks).values(values).returning(metric_chunks.c.id)).scalar_one()
    if outline is not None:
        connection.execute(insert(metric_outlines).values(chunk_id=chunk_id, **vars(outline)))


def open_tail(connection: Connection, run_id: str, name: str) -> list[tuple[int, Chunk]]:
    """The chunks of a metric after its last sealed one, oldest first, with their ids."""
    columns = metric_chunks.c
    here = (columns.run_id == run_id, columns.name == name)
    sealed = select(func.max(columns.id)).where(*here, columns.kind.in_(SEALED.values())).scalar_subquery()
    query = select(columns.id, columns.kind, columns.count, columns.data)
    query = query.where(*here, columns.id > func.coalesce(sealed, 0)).order_by(columns.id)
    return [(id_, Chunk(kind, count, data)) for id_, kind, count, data in connection.execute(query)]


def open_names(connection: Connection, run_id: str, worth: int) -> list[str]:
    """The metrics with several chunks that are not sealed, or with ``worth`` points in them."""
    columns = metric_chunks.c
    query = select(columns.name).where(columns.run_id == run_id, columns.kind.in_(SEALED.keys()))
    query = query.group_by(columns.name).having((func.count() > 1) | (func.sum(columns.count) >= worth))
    return list(connection.execute(query).scalars())


@dataclass(frozen=True)
class ChunkHead:
    """What is known of a chunk without its points. The range is that of its outline, None where it has none."""

    id: int
    count: int
    is_outlined: bool
    low_step: int | None
    high_step: int | None
    low_time: float | None
    high_time: float | None


def chunk_heads(
    connection: Connection, run_ids: Sequence[str], names: Sequence[str]
) -> dict[tuple[str, str], list[ChunkHead]]:
    """The chunks of these metrics by run id and name, each metric's in their order."""
    columns, outlined = metric_chunks.c, metric_outlines.c
    query = select(
        columns.run_id,
        columns.name,
        columns.id,
        columns.count,
        outlined.chunk_id.is_not(None),
        outlined.low_step,
        outlined.high_step,
        outlined.low_time,
        outlined.high_time,
    ).select_from(metric_chunks.outerjoin(metric_outlines))
    found: dict[tuple[str, str], list[ChunkHead]] = {}
    for some_runs in portions(run_ids):
        for some_names in portions(names):
            here = query.where(columns.run_id.in_(some_runs), columns.name.in_(some_names))
            for run_id, name, *head in connection.execute(here.order_by(columns.run_id, columns.name, columns.id)):
                found.setdefault((run_id, name), []).append(ChunkHead(*head))
    return found


def chunks_by_id(connection: Connection, ids: Sequence[int]) -> dict[int, Chunk]:
    """Chunks with their points."""
    columns = metric_chunks.c
    query = select(columns.id, columns.kind, columns.count, columns.data)
    return {
        id_: Chunk(*rest)
        for some in portions(ids)
        for id_, *rest in connection.execute(query.where(columns.id.in_(some)))
    }


def outlines_by_id(connection: Connection, ids: Sequence[int]) -> dict[int, Outline]:
    """Outlines by the ids of their chunks."""
    found = {}
    for some in portions(ids):
        for row in connection.execute(select(metric_outlines).where(metric_outlines.c.chunk_id.in_(some))).mappings():
            found[row["chunk_id"]] = Outline(**{key: row[key] for key in Outline.__dataclass_fields__})
    return found


def delete_chunks(connection: Connection, ids: Sequence[int]) -> None:
    """Deletes chunks that were merged."""
    for some in portions(ids):
        connection.execute(delete(metric_chunks).where(metric_chunks.c.id.in_(some)))


def chunks(connection: Connection, run_ids: Sequence[str], name: str | None) -> Iterator[tuple[str, str, Chunk]]:
    """Run id, metric and chunk, the chunks of one metric in their order; without a name those of all that was logged."""
    columns = metric_chunks.c
    query = select(columns.run_id, columns.name, columns.kind, columns.count, columns.data)
    if name is None:
        query = query.where(columns.name.not_like(PREFIX + "%"))
    for row in _each(connection, query, metric_chunks, run_ids, name):
        yield row[0], row[1], Chunk(row[2], row[3], row[4])


def newest_chunks(connection: Connection, run_id: str, name: str, points: int) -> list[Chunk]:
    """The chunks in which the last ``points`` of a metric lie, in order; all of them where it has fewer."""
    columns = metric_chunks.c
    of_metric = (columns.run_id == run_id) & (columns.name == name)
    # Each has a point at least.
    sizes = select(columns.id, columns.count).where(of_metric).order_by(columns.id.desc()).limit(points)
    wanted, held = [], 0
    for id_, count in connection.execute(sizes):
        if held >= points:
            break
        wanted.append(id_)
        held += count
    query = select(columns.kind, columns.count, columns.data).where(columns.id.in_(wanted)).order_by(columns.id)
    return [Chunk(*row) for row in connection.execute(query)]


def last_points(
    connection: Connection, run_ids: Sequence[str], names: Sequence[str] | None = None
) -> Iterator[tuple[str, str, Chunk]]:
    """Run id, metric and a chunk of its last point, of these metrics only or of all."""
    columns = metric_chunks.c
    # The last number of each column, cut out where the chunk lies: chunks of a long metric are large.
    opened = dict(zip(SEALED.values(), SEALED, strict=True))
    kind_of = case(opened, value=columns.kind, else_=columns.kind)

    def cut(at: Any, sealed_at: int, size: int) -> Any:
        place = case((columns.kind.in_(SEALED), at), else_=func.length(columns.data) - LAST_BYTES + sealed_at)
        return func.substr(columns.data, place, size)

    ends = [cut(8 * columns.count * column - 7, 8 * column - 7, 8) for column in (1, 2, 3)]
    flag = cut(25 * columns.count, LAST_BYTES, 1)
    for some in portions(run_ids):
        for some_names in portions(names) if names is not None else [None]:
            newest = select(func.max(columns.id)).where(columns.run_id.in_(some))
            if some_names is not None:
                newest = newest.where(columns.name.in_(some_names))
            else:
                newest = newest.where(columns.name.not_like(PREFIX + "%"))
            newest = newest.group_by(columns.run_id, columns.name)
            query = select(columns.run_id, columns.name, kind_of, *ends, flag).where(columns.id.in_(newest))
            for run_id, name, kind, *numbers, is_integer in connection.execute(query):
                yield run_id, name, Chunk(kind, 1, b"".join(numbers) + (is_integer if kind == MIXED else b""))


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
    for some in portions(run_ids):
        yield from connection.execute(
            query.where(table.c.run_id.in_(some)).order_by(table.c.run_id, table.c.name, table.c.id)
        )


def summaries(
    connection: Connection, run_ids: Sequence[str], names: Sequence[str] | None = None
) -> dict[str, dict[str, MetricSummary]]:
    """Summaries by run and metric, in order of name; of these metrics only, or of all that were logged."""
    found: dict[str, dict[str, MetricSummary]] = {}
    for some_runs in portions(run_ids):
        for some_names in portions(names) if names is not None else [None]:
            if some_names is not None:
                rows = connection.execute(_SUMMARIES_NAMED, {"of_runs": some_runs, "called": some_names})
            else:
                rows = connection.execute(_SUMMARIES_LOGGED, {"of_runs": some_runs})
            for run_id, *row in rows:
                found.setdefault(run_id, {})[row[0]] = _summary(row)
    return {run_id: dict(sorted(of_run.items())) for run_id, of_run in found.items()}


@dataclass(frozen=True)
class Wanted:
    """Which of a run's metrics are meant.

    Attributes:
        search: a part of the name, in small or capital letters.
        drawable: only numbers that were logged more than once.
        system: those of the nodes, in the place of what was logged.
        exhibits: only what is no number: lists, tables, images, matrices.
    """

    search: str = ""
    drawable: bool = False
    system: bool = False
    exhibits: bool = False


def page(
    connection: Connection, run_id: str, wanted: Wanted, after: str | None, limit: int
) -> tuple[list[MetricSummary], int]:
    """The metrics of a run by name, those after one; and how many are meant in all."""
    columns = metric_summaries.c
    here = [columns.run_id == run_id, columns.type == SYSTEM if wanted.system else columns.type != SYSTEM]
    if wanted.search:
        here.append(func.lower(columns.name).contains(wanted.search.lower(), autoescape=True))
    if wanted.drawable:
        here += [columns.type.in_(_NUMBERS), columns.count > 1, columns.max.is_not(None)]
    if wanted.exhibits:
        here.append(columns.type.not_in(_NUMBERS))
    count = connection.execute(select(func.count()).where(*here)).scalar_one()
    query = select(*_SUMMARY).where(*here).order_by(columns.name).limit(limit)
    if after is not None:
        query = query.where(columns.name > after)
    return [_summary(row) for row in connection.execute(query)], count


def newest_entries(connection: Connection, run_id: str, names: Sequence[str], characters: int) -> dict[str, EntryRow]:
    """The last entry of each of these metrics, of its value so many characters."""
    columns = metric_entries.c
    found = {}
    for some in portions(names):
        newest = select(func.max(columns.id)).where(columns.run_id == run_id, columns.name.in_(some))
        begin = func.substr(columns.value, 1, characters)
        query = select(columns.name, columns.type, columns.at, begin, columns.step)
        for row in connection.execute(query.where(columns.id.in_(newest.group_by(columns.name)))):
            found[row[0]] = EntryRow(*row)
    return found


def last_entries(
    connection: Connection, run_id: str, name: str, type_: str, most: int, characters: int
) -> list[EntryRow]:
    """The last entries of a metric, oldest first: so many, or fewer, whose values have so many characters together."""
    columns = metric_entries.c
    value = func.substr(columns.value, 1, characters + 1)
    query = select(columns.name, columns.type, columns.at, value, columns.step)
    query = query.where(columns.run_id == run_id, columns.name == name, columns.type == type_)
    query = query.order_by(columns.id.desc()).limit(most)
    found: list[EntryRow] = []
    # Read row by row: what lies beyond the limit is never in memory.
    streamed = {"stream_results": True, "max_row_buffer": 10}
    with connection.execute(query, execution_options=streamed) as rows:
        for row in rows:
            characters -= len(row[3])
            if characters < 0:
                break
            found.append(EntryRow(*row))
    return found[::-1]


def _summary(row: Sequence[Any]) -> MetricSummary:
    name, type_, description, *numbers = row
    return MetricSummary(name, type_, Summary(*numbers), description)


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
    new: list[dict[str, Any]] = []
    known: list[dict[str, Any]] = []
    for one in after:
        row: dict[str, Any] = {
            "of_run": run_id,
            "called": one.name,
            "new_type": one.type,
            "new_description": one.description,
        }
        row.update((f"new_{key}", value) for key, value in vars(one.summary).items())
        (known if one.name in before else new).append(row)
    if new:
        connection.execute(_ADD_SUMMARY, new)
    if known:
        connection.execute(_CHANGE_SUMMARY, known)


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
        for some in portions(above):
            query = select(runs.c.id, runs.c.type).where(runs.c.parent_id.in_(some)).order_by(runs.c.created_at)
            level += list(connection.execute(query))
    return found


def _unknown(run_id: str) -> UnknownRunError:
    return UnknownRunError(f"There is no run {run_id!r} in this workspace. `runyard run list` shows those that are.")
