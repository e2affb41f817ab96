"""Metrics: taken in from spools as streams of lines, given back in Azure's shapes."""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from runyard.errors import OffsetGapError, RunException, UserErrorException
from runyard_server.domain import paths
from runyard_server.domain.metric_chunks import (
    Chunk,
    Points,
    Summary,
    combine,
    joined,
    merge,
    pack,
    parts,
    seal,
    summarize,
    tail,
    unpack,
)
from runyard_server.domain.metric_curves import outline
from runyard_server.domain.metric_shapes import dropped, shape
from runyard_server.domain.spool_lines import LIST, SCALAR, SYSTEM, TABLE, Batch, Entry, parse
from runyard_server.records import metrics as records
from runyard_server.records import runs as run_records
from runyard_server.records import streams
from runyard_server.records.engine import Database
from runyard_server.records.metrics import EntryRow
from runyard_server.records.metrics import MetricSummary as MetricSummary  # the pages show it
from runyard_server.records.metrics import Wanted as Wanted  # the API asks with it
from runyard_server.services.hub import Change, Hub

BODY_BYTES = 16 << 20
WRITER_LENGTH = 200
SEALED_POINTS = 8192  # of a chunk that is sealed; what is smaller is merged,
MERGE_EVERY = 64  # each time that a metric has got this many chunks more
WORTH_SEALING = 64  # points, when the run has ended
_SETTLED_AT_ONCE = 200  # metrics in one transaction

ALL = Wanted()
PAGE = 100
MOST_ON_A_PAGE = 1000
_GLANCED_CHARACTERS = 65536
_GLANCE = 200  # characters

ApplyTags = Callable[[Connection, str, dict[str, str], dict[str, str]], None]


@dataclass(frozen=True)
class MetricPage:
    """Some of a run's metrics.

    Attributes:
        count: how many are meant in all.
        glances: by name, what there is to say of those that are no numbers.
        next: the name that the next page comes after; None at the end.
    """

    metrics: Sequence[MetricSummary]
    count: int
    glances: Mapping[str, str]
    next: str | None


@dataclass(frozen=True)
class Newest:
    """The last of what was logged under a name, oldest first, and how many characters it has as JSON."""

    entries: Sequence[Entry]
    characters: int


class MetricService:
    """Takes and gives metrics.

    Args:
        apply_tags: sets tags and adds properties of a run within the given transaction.
        hub: is told of every run that got something.
    """

    def __init__(self, database: Database, hub: Hub, apply_tags: ApplyTags) -> None:
        self._database = database
        self._hub = hub
        self._apply_tags = apply_tags
        self._loose: dict[tuple[str, str], tuple[int, int]] = {}  # chunks and points since the last merge, by metric
        self._counting = threading.Lock()

    # Taking

    def take(self, run_id: str, writer: str, offset: int, body: bytes) -> int:
        """Stores spool lines that begin at byte ``offset`` of the writer's stream.

        What is stored already is skipped, so anything may be sent twice. A line without its newline at
        the end of ``body`` is left for the next time.

        Returns:
            The stream's stored size: where the next bytes begin.
        Raises:
            OffsetGapError: bytes before ``offset`` are missing; ``details["size"]`` is what is stored.
            UserErrorException: a line cannot be read, and nothing of ``body`` is stored; ``details`` has
                ``line_at`` and ``line_bytes``. Or there are more than 16 MiB.
        """
        if len(body) > BODY_BYTES:
            raise UserErrorException(f"At most {BODY_BYTES:,} bytes of metrics are taken at once, not {len(body):,}.")
        if offset < 0:
            raise UserErrorException(f"An offset is 0 or more, not {offset}.")
        stream = "metrics/" + _checked_writer(writer)
        end = offset + body.rfind(b"\n") + 1
        if not body:
            return self._stored_size(run_id, stream, offset)
        start = offset  # nearly always; what is stored is looked at once, where it cannot change any more
        while True:
            try:
                batch = parse(body[start - offset : max(0, end - offset)], start)
            except UserErrorException:
                there = self._stored_size(run_id, stream, offset)
                if there == start:
                    raise
                start = there
                continue
            size = max(start, end)
            rows = _rows(batch)
            with self._database.write() as connection:
                records.lock_run(connection, run_id)
                there, count = _stored(connection, run_id, stream)
                if there == start:
                    if size > start:
                        self._save(connection, run_id, batch, rows)
                        streams.set_stored(connection, run_id, stream, size, count + batch.records)
                    break
                _check_no_gap(stream, there, offset)
            start = there
        if batch.records:
            self._hub.publish(run_id, Change(measured=True))
        return size

    def _stored_size(self, run_id: str, stream: str, offset: int) -> int:
        with self._database.read() as connection:
            size, _ = _stored(connection, run_id, stream)
            if not size:
                run_records.get(connection, run_id)
        _check_no_gap(stream, size, offset)
        return size

    def add(self, run_id: str, metrics: Mapping[str, Points]) -> None:
        """Stores points that came in one request and are part of no stream.

        A request that is sent again adds nothing: points that a metric ends with are not stored once more.

        Raises:
            UnknownRunError: no such run.
        """
        with self._database.write() as connection:
            records.lock_run(connection, run_id)
            new = self._without_repeats(connection, run_id, metrics)
            count = sum(len(points.values) for points in new.values())
            if count:
                self._save(connection, run_id, Batch(scalars=new, types=dict.fromkeys(new, SCALAR), records=count), [])
        if count:
            self._hub.publish(run_id, Change(measured=True))

    def take_read(
        self, run_id: str, stream: str, start: int, end: int, metrics: Mapping[str, Points], description: str
    ) -> Sequence[str] | None:
        """Stores points that somebody has read from bytes ``start`` to ``end`` of a stream.

        Their metrics get the description, by which they are known. One that is there without it was logged by the run,
        and stays as it is.

        Returns:
            The names of the latter. None, and nothing is stored, where the stream is not stored up to ``start``.
        Raises:
            UnknownRunError: no such run.
        """
        with self._database.write() as connection:
            records.lock_run(connection, run_id)
            there, count = _stored(connection, run_id, stream)
            if there != start:
                return None
            known = records.summaries(connection, [run_id], list(metrics)).get(run_id, {})
            refused = {name: None for name, one in known.items() if one.description != description}
            new = {name: points for name, points in metrics.items() if name not in refused}
            added = sum(len(points.values) for points in new.values())
            if added:
                batch = Batch(new, [], dict.fromkeys(new, SCALAR), dict.fromkeys(new, description), records=added)
                self._save(connection, run_id, batch, [])
            streams.set_stored(connection, run_id, stream, end, count + added)
        if added:
            self._hub.publish(run_id, Change(measured=True))
        return list(refused)

    def _without_repeats(self, connection: Connection, run_id: str, metrics: Mapping[str, Points]) -> dict[str, Points]:
        last = {name: unpack(chunk) for _, name, chunk in records.last_points(connection, [run_id], list(metrics))}
        new = dict(metrics)
        for name, points in last.items():
            if pack(points) == pack(tail(metrics[name], 1)):
                count = len(new[name].values)
                # They may be in several: what was whole was sealed when they came.
                stored = unpack(merge(records.newest_chunks(connection, run_id, name, count)))
                if pack(tail(stored, count)) == pack(new[name]):
                    del new[name]
        return new

    def _save(self, connection: Connection, run_id: str, batch: Batch, entries: list[EntryRow]) -> None:
        names = sorted({*batch.types, *batch.descriptions})
        before = records.summaries(connection, [run_id], names).get(run_id, {})
        chunks = {name: pack(batch.scalars[name]) for name in sorted(batch.scalars)}
        for name in self._due(run_id, batch.scalars):
            self._tidy(connection, run_id, name, more=chunks.pop(name))
        records.add_chunks(connection, run_id, list(chunks.items()))
        records.add_entries(connection, run_id, entries)
        after = [_summary(name, batch, before.get(name)) for name in names if name in batch.types or name in before]
        records.save_summaries(connection, run_id, before, after)
        if batch.tags or batch.properties:
            self._apply_tags(connection, run_id, batch.tags, batch.properties)

    def _due(self, run_id: str, scalars: Mapping[str, Points]) -> list[str]:
        """The metrics among those that got a chunk whose loose chunks are to be merged or sealed now."""
        due = []
        with self._counting:
            if len(self._loose) > 100_000:
                self._loose.clear()  # they are merged a little later, then
            for name, added in scalars.items():
                chunks, points = self._loose.get((run_id, name), (0, 0))
                chunks, points = chunks + 1, points + len(added.values)
                if chunks >= MERGE_EVERY or points >= SEALED_POINTS:
                    due.append(name)
                    chunks, points = 0, points % SEALED_POINTS
                self._loose[run_id, name] = chunks, points
        return due

    def _tidy(
        self, connection: Connection, run_id: str, name: str, worth: int = SEALED_POINTS, more: Chunk | None = None
    ) -> None:
        """Seals what is whole of a metric's loose chunks, or has ``worth`` points, and merges the rest.

        Args:
            more: a chunk that comes after those that are stored.
        """
        loose = records.open_tail(connection, run_id, name)
        chunks = [chunk for _, chunk in loose] + ([more] if more else [])
        if not chunks:
            return
        pieces = parts(merge(chunks), SEALED_POINTS)
        if len(loose) == len(chunks) == len(pieces) == 1 and pieces[0].count < worth:
            return
        records.delete_chunks(connection, [id_ for id_, _ in loose])
        for piece in pieces:
            if piece.count >= worth:
                records.add_sealed(connection, run_id, name, seal(piece), outline(piece))
            else:
                records.add_chunks(connection, run_id, [(name, piece)])

    def settle(self, run_id: str) -> None:
        """Seals what a run has logged: it has ended. What comes later all the same is taken as ever."""
        with self._database.read() as connection:
            names = records.open_names(connection, run_id, WORTH_SEALING)
        for start in range(0, len(names), _SETTLED_AT_ONCE):
            with self._database.write() as connection:
                records.lock_run(connection, run_id)
                for name in names[start : start + _SETTLED_AT_ONCE]:
                    self._tidy(connection, run_id, name, WORTH_SEALING)
        with self._counting:
            for name in names:
                self._loose.pop((run_id, name), None)

    # Giving

    def get(
        self, run_id: str, name: str | None = None, recursive: bool = False, run_type: str | None = None
    ) -> dict[str, Any]:
        """What was logged: ``{"metrics": ..., "warnings": [...]}``.

        Args:
            name: only this metric.
            recursive: ``metrics`` maps run ids, of this run and all below it that logged, to their metrics;
                otherwise metric names to values.
            run_type: with ``recursive``: only runs of this type.
        """
        with self._database.read() as connection:
            run_ids = records.family(connection, run_id, run_type if recursive else None)
            if not recursive:
                run_ids = [run_id]
            names = None if name is None else [name]
            summaries = records.summaries(connection, run_ids, names)
            chunks: dict[tuple[str, str], list[Points]] = {}
            for owner, metric, chunk in records.chunks(connection, run_ids, name):
                chunks.setdefault((owner, metric), []).append(unpack(chunk))
            entries: dict[tuple[str, str], list[Entry]] = {}
            for owner, row in records.entries(connection, run_ids, name):
                entries.setdefault((owner, row.name), []).append(_entry(row))
        warnings: list[str] = []
        found: dict[str, dict[str, Any]] = {}
        for owner in run_ids:
            for metric, summary in summaries.get(owner, {}).items():
                points, others = chunks.get((owner, metric), []), entries.get((owner, metric), [])
                found.setdefault(owner, {})[metric] = shape(summary.type, points, others)
                types = {entry.type for entry in others} | ({SCALAR} if points else set())
                if types - {summary.type}:
                    warnings.append(dropped(metric, summary.type, types - {summary.type}))
        return {"metrics": found if recursive else found.get(run_id, {}), "warnings": warnings}

    def summaries(
        self, run_ids: Sequence[str], names: Sequence[str] | None = None
    ) -> dict[str, dict[str, MetricSummary]]:
        """Metrics of several runs at a glance, by run id and name: for tables of runs."""
        with self._database.read() as connection:
            return records.summaries(connection, run_ids, names)

    def page(self, run_id: str, wanted: Wanted = ALL, after: str | None = None, limit: int = PAGE) -> MetricPage:
        """The metrics of a run at a glance, by name; a run may have many thousands.

        Args:
            after: the name that the page before ended with.
        Raises:
            UnknownRunError: no such run.
        """
        if not 1 <= limit <= MOST_ON_A_PAGE:
            raise UserErrorException(f"A page has 1 to {MOST_ON_A_PAGE:,} metrics, not {limit}.")
        with self._database.read() as connection:
            run_records.get(connection, run_id)
            found, count = records.page(connection, run_id, wanted, after, limit + 1)  # one more: is there a next page?
            following = found[limit - 1].name if len(found) > limit else None
            found = found[:limit]
            told = [one.name for one in found if one.type != SYSTEM and (one.type != SCALAR or one.summary.max is None)]
            newest = records.newest_entries(connection, run_id, told, _GLANCED_CHARACTERS + 1)
        glances = {name: _glance(row) for name, row in newest.items()}
        return MetricPage(found, count, glances, following)

    def newest(self, run_id: str, name: str, type_: str, most: int, characters: int) -> Newest:
        """The last entries of a metric that is no number, as many as have no more than so many characters together."""
        with self._database.read() as connection:
            rows = records.last_entries(connection, run_id, name, type_, most, characters)
        return Newest([_entry(row) for row in rows], sum(len(row.value) for row in rows))

    def last_points(self, run_ids: Sequence[str]) -> dict[str, dict[str, Points]]:
        """The last number of every metric of several runs, by run id and name."""
        found: dict[str, dict[str, Points]] = {}
        with self._database.read() as connection:
            for run_id, name, chunk in records.last_points(connection, run_ids):
                found.setdefault(run_id, {})[name] = unpack(chunk)
        return found

    def numbers(self, run_id: str, name: str) -> Points:
        """All numbers that were logged under a name, in their order; none where there is no such metric.

        Raises:
            UnknownRunError: no such run.
        """
        with self._database.read() as connection:
            run_records.get(connection, run_id)
            return joined([unpack(chunk) for _, _, chunk in records.chunks(connection, [run_id], name)])

    def usual_names(self, run_ids: Sequence[str], limit: int) -> list[str]:
        """Names of metrics that are numbers, those that most of the runs have first."""
        with self._database.read() as connection:
            return records.usual_names(connection, run_ids, limit)

    def history(self, run_id: str, name: str) -> dict[str, Any]:
        """All numbers of a metric: ``{"name", "type", "count", "steps", "times", "values"}``.

        The last three are columns of one length. For pictures there are curves, which are quicker.

        Raises:
            RunException: the run has no scalar metric of that name.
        """
        with self._database.read() as connection:
            records.family(connection, run_id, None)
            summary = records.summaries(connection, [run_id], [name]).get(run_id, {}).get(name)
            if summary is None or summary.type not in (SCALAR, SYSTEM):
                raise RunException(f"Run {run_id} has no scalar metric named {name!r}.")
            points = joined([unpack(chunk) for _, _, chunk in records.chunks(connection, [run_id], name)])
        return {
            "name": name,
            "type": summary.type,
            "count": len(points.values),
            "steps": points.steps,
            "times": points.times,
            "values": points.values,
        }


def _glance(row: EntryRow) -> str:
    """What the newest entry of a metric is, in a few words."""
    if len(row.value) > _GLANCED_CHARACTERS:
        return f"more than {_GLANCED_CHARACTERS:,} characters"
    value = json.loads(row.value)
    if row.type == TABLE and isinstance(value, dict):
        said = "columns: " + ", ".join(str(key) for key in value)
    elif row.type == LIST and isinstance(value, list):
        said = f"{len(value):,} values" + (f", last {value[-1]}" if value else "")
    elif isinstance(value, dict):
        said = ", ".join(str(key) for key in value)
    elif isinstance(value, str) and value.startswith("aml://artifactId/"):
        said = "image " + value.rpartition("/")[2]
    else:
        said = str(value)
    return said if len(said) <= _GLANCE else said[: _GLANCE - 1] + "…"


def _stored(connection: Connection, run_id: str, stream: str) -> tuple[int, int]:
    """Bytes and records of the stream that are stored."""
    row = streams.get(connection, run_id, stream)
    return (row.stored, row.records) if row else (0, 0)


def _check_no_gap(stream: str, size: int, offset: int) -> None:
    if offset > size:
        raise OffsetGapError(
            f"The stream {stream} is stored up to byte {size}; bytes from {offset} would leave a gap.", {"size": size}
        )


def _checked_writer(writer: str) -> str:
    paths.relative(writer, "writer's name")
    if "/" in writer or len(writer) > WRITER_LENGTH:
        raise UserErrorException(
            f"The writer's name {writer[:60]!r} is refused: it may have no '/' and at most {WRITER_LENGTH} characters."
        )
    return writer


def _rows(batch: Batch) -> list[EntryRow]:
    return [EntryRow(one.name, one.type, one.at, json.dumps(one.value), one.step) for one in batch.entries]


def _entry(row: EntryRow) -> Entry:
    return Entry(row.name, row.type, row.at, json.loads(row.value), row.step)


def _summary(name: str, batch: Batch, before: MetricSummary | None) -> MetricSummary:
    """The metric's summary after the batch; what came as another type than its first does not count."""
    known = before or MetricSummary(name, batch.types[name], Summary())
    summary = known.summary
    if known.type in (SCALAR, SYSTEM) and name in batch.scalars:
        summary = combine(summary, summarize(batch.scalars[name]))
    others = sum(entry.name == name and entry.type == known.type for entry in batch.entries)
    summary = replace(summary, count=summary.count + others)
    return replace(known, summary=summary, description=batch.descriptions.get(name, known.description))
