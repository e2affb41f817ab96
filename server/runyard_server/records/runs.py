"""Rows of runs, their events and their jobs. ``move`` is the only writer of a status."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    tuple_,
    union_all,
    update,
)

from runyard.errors import IllegalTransitionError, UnknownRunError
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.jobs import JobReport
from runyard.protocol.runs import AttemptRecord, RunError, RunEvent, RunRecord, RunSpec
from runyard.protocol.status import Reason, RunStatus
from runyard_server.domain.filters.tree import Source
from runyard_server.domain.run_arguments import PARAMETER
from runyard_server.domain.transitions import is_allowed
from runyard_server.records import deleted_runs, run_facts
from runyard_server.records.portions import portions
from runyard_server.records.tables import experiments, jobs, metric_summaries, run_events, runs
from runyard_server.records.tables import run_facts as facts

# Asked as "in", not as "not in": the index on status answers that without reading finished runs.
_UNFINISHED = [status.value for status in RunStatus if not status.is_terminal]

# What is asked for every few milliseconds is put together once: building a query costs more than running it.
_RUN = select(runs, experiments.c.name.label("experiment")).join(experiments, experiments.c.id == runs.c.experiment_id)
_BY_ID = _RUN.where(runs.c.id == bindparam("run_id"))
_BY_IDS = _RUN.where(runs.c.id.in_(bindparam("ids", expanding=True)))
_VERSIONS = (
    select(runs.c.id, runs.c.version).where(runs.c.status.in_(_UNFINISHED)).order_by(runs.c.created_at, runs.c.number)
)
_UNFINISHED_IDS = select(func.aggregate_strings(runs.c.id, "\n")).where(runs.c.status.in_(_UNFINISHED))
_WAITING = select(
    runs.c.id,
    runs.c.target,
    runs.c.priority,
    runs.c.created_at,
    runs.c.spec["node_count"].as_integer(),
    runs.c.spec["gpus_per_node"].as_integer(),
).where(runs.c.status == RunStatus.QUEUED.value)
# One by one: each is the end of an index, however many wait.
_NEWEST_THAT_WAIT = union_all(
    *(
        select(func.max(runs.c.created_at)).where(runs.c.status == status.value)
        for status in (RunStatus.STARTING, RunStatus.PREPARING, RunStatus.QUEUED)
    )
)
_JOBS = select(jobs).order_by(jobs.c.node)
_JOBS_OF = _JOBS.where(jobs.c.run_id == bindparam("run_id"), jobs.c.attempt == bindparam("attempt"))
_IS_PRESENT = (jobs.c.run_id == runs.c.id) & (jobs.c.attempt == runs.c.attempt)
_PRESENT_JOBS = _JOBS.join(runs, _IS_PRESENT).where(runs.c.id.in_(bindparam("ids", expanding=True)))
_NODES = select(runs.c.id, runs.c.target, jobs.c.gpus).join(jobs, _IS_PRESENT)
_HOLDERS = _NODES.where(runs.c.status.in_(bindparam("statuses", expanding=True))).order_by(
    runs.c.created_at, runs.c.id, jobs.c.node
)
_HOLDERS_AMONG = _NODES.where(runs.c.id.in_(bindparam("ids", expanding=True))).order_by(runs.c.id, jobs.c.node)
# The same as "is null", without the index on parents: almost every run has none, which SQLite does not know.
_NO_PARENT = func.coalesce(runs.c.parent_id, "") == ""
_NEW_RUN = insert(runs)
_NEW_EVENT = insert(run_events)
# What is set is named with each move.
_MOVE = update(runs).where(runs.c.id == bindparam("moved"), runs.c.version == bindparam("seen_version"))


def last_in_line(connection: Connection, now: float) -> float:
    """When a run that is submitted now is said to have come: ``now``, but after all that wait.

    Who came first is served first, also where the clock was set back between, or is too coarse to tell two apart.
    """
    newest = max((at for at in connection.execute(_NEWEST_THAT_WAIT).scalars() if at is not None), default=0.0)
    return now if now > newest else math.nextafter(newest, math.inf)


def add(connection: Connection, record: RunRecord, experiment_id: str) -> None:
    """Inserts a new run as it stands; its first event is written with it."""
    connection.execute(
        _NEW_RUN,
        {
            "id": record.id,
            "experiment_id": experiment_id,
            "number": record.number,
            "parent_id": record.parent_id,
            "type": record.type,
            "status": record.status.value,
            "version": record.version,
            "attempt": record.attempt,
            "reason": record.reason,
            "message": record.message,
            "display_name": record.display_name,
            "description": record.description,
            "target": record.target,
            "priority": record.spec.priority if record.spec else 0,
            "submitted_by": record.submitted_by,
            "snapshot": record.snapshot,
            "environment_key": record.environment_key,
            "created_at": record.created_at,
            "started_at": record.started_at,
            "spec": to_json(record.spec) if record.spec else None,
            "warnings": record.warnings,
            "tags": record.tags,
            "properties": record.properties,
        },
    )
    run_facts.put(connection, record)
    event = RunEvent(
        at=record.created_at,
        from_status=RunStatus.NOT_STARTED,
        to_status=record.status,
        reason=record.reason or Reason.SUBMITTED.value,
        by=record.submitted_by or "",
    )
    _append_event(connection, record.id, event)


def get(connection: Connection, run_id: str, lock: bool = False) -> RunRecord:
    """The run; ``lock`` keeps other writers of it away until the transaction ends.

    Raises:
        UnknownRunError: there is none of that id.
    """
    query = _BY_ID
    if lock and connection.dialect.name == "postgresql":
        query = query.with_for_update(of=runs, key_share=True)
    row = connection.execute(query, {"run_id": run_id}).mappings().first()
    if row is None:
        gone = deleted_runs.find(connection, run_id)
        if gone is not None:
            at = datetime.fromtimestamp(gone.deleted_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
            why = "" if gone.reason == f"asked for by {gone.deleted_by}" else f", {gone.reason}"
            raise UnknownRunError(f"The run {run_id!r} was deleted by {gone.deleted_by} at {at}{why}.")
        raise UnknownRunError(f"There is no run {run_id!r} in this workspace. `runyard run list` shows those that are.")
    return _record(row)


def find(connection: Connection, run_id: str) -> RunRecord | None:
    row = connection.execute(_BY_ID, {"run_id": run_id}).mappings().first()
    return _record(row) if row else None


@dataclass(frozen=True)
class RunFilter:
    """Which runs a list holds. None means any; tags and properties map a key to a value or None for any value."""

    experiment: str | None = None
    status: str | None = None  # or several, with a comma between
    type: str | None = None
    target: str | None = None
    parent_id: str | None = None
    include_children: bool = False
    tags: dict[str, str | None] | None = None
    properties: dict[str, str | None] | None = None
    before: str | None = None  # older than the run of this id: for paging
    id_part: str | None = None  # what the id begins or ends with
    metric: str | None = None  # those that logged numbers under that name, sorted by them; excludes ``before``
    metric_value: str = "last"  # or "min", "max"
    ascending: bool = False  # of the metric
    limit: int = 100
    view: str = "all"  # or "active", "archived"


def list_matching(connection: Connection, wanted: RunFilter) -> Sequence[RunRecord]:
    """Runs that match, newest first, or by a metric."""
    query = _RUN
    if wanted.view != "all":
        query = query.where(
            runs.c.archived_at.is_(None) if wanted.view == "active" else runs.c.archived_at.is_not(None)
        )
    if wanted.experiment is not None:
        query = query.where(experiments.c.name == wanted.experiment)
    if wanted.status is not None:
        query = query.where(runs.c.status.in_(wanted.status.split(",")))
    if wanted.id_part is not None:
        begins = runs.c.id.startswith(wanted.id_part, autoescape=True)
        query = query.where(begins | runs.c.id.endswith(wanted.id_part, autoescape=True))
    if wanted.type is not None:
        query = query.where(runs.c.type == wanted.type)
    if wanted.target is not None:
        query = query.where(runs.c.target == wanted.target)
    if wanted.parent_id is not None:
        query = query.where(runs.c.parent_id == wanted.parent_id)
    stated = [_stated(connection, *pair) for pair in _pairs(wanted)]
    query = query.where(*(condition for _, condition in stated))
    few = min((ids for ids, _ in stated if ids is not None), key=len, default=None)
    if few is not None:
        if not few:
            return []
        query = query.where(runs.c.id.in_(few))
    if wanted.parent_id is None and not wanted.include_children:
        narrow = few is not None or _is_narrow(wanted)
        query = query.where(_NO_PARENT if narrow else runs.c.parent_id.is_(None))
    if wanted.before is not None:
        last = get(connection, wanted.before)
        query = query.where(tuple_(runs.c.created_at, runs.c.id) < (last.created_at, last.id))
    if wanted.metric is None:
        query = query.order_by(runs.c.created_at.desc(), runs.c.id.desc())
    else:
        number = metric_summaries.c[wanted.metric_value]
        query = query.join(metric_summaries, metric_summaries.c.run_id == runs.c.id)
        query = query.where(metric_summaries.c.name == wanted.metric, is_number(connection, number))
        query = query.order_by(number.asc() if wanted.ascending else number.desc(), runs.c.id)
    query = query.limit(wanted.limit)
    return [_record(row) for row in connection.execute(query).mappings()]


def _pairs(wanted: RunFilter) -> Iterator[tuple[Source, str, str | None]]:
    for source, pairs in ((Source.TAG, wanted.tags), (Source.PROPERTY, wanted.properties)):
        for key, value in (pairs or {}).items():
            yield source, key, value


def _stated(
    connection: Connection, source: Source, key: str, value: str | None
) -> tuple[list[str] | None, ColumnElement[bool]]:
    """That a run has a tag or property: the ids of those that do where these are few, and the condition itself."""
    column = runs.c.tags if source is Source.TAG else runs.c.properties
    whole = column[key].as_string()
    exactly = whole.is_not(None) if value is None else whole == value
    if source is Source.PROPERTY and key.startswith(PARAMETER):  # those are arguments there
        return None, exactly
    rows = run_facts.stating(source, key, value)
    here = exists().where(facts.c.run_id == runs.c.id, *rows)
    return run_facts.few(connection, rows), and_(here, exactly) if run_facts.is_cut(key, value) else here


def is_number(connection: Connection, value: ColumnElement[float]) -> ColumnElement[bool]:
    """NaN has no place in an order; SQLite keeps it as null."""
    known = value.is_not(None)
    return known & (value != float("nan")) if connection.dialect.name == "postgresql" else known


def _is_narrow(wanted: RunFilter) -> bool:
    """Whether an index on what is asked for reads no more runs than are shown, or than have not ended."""
    statuses = wanted.status.split(",") if wanted.status else []
    few = bool(statuses) and (len(statuses) == 1 or set(statuses) <= set(_UNFINISHED))
    return few or any(one is not None for one in (wanted.target, wanted.experiment, wanted.metric))


def unfinished_versions(connection: Connection) -> Sequence[tuple[str, int]]:
    """Id and version of every run that has not ended, oldest first: cheap to ask often."""
    return [(row[0], row[1]) for row in connection.execute(_VERSIONS)]


def unfinished_ids(connection: Connection) -> str:
    """The ids of the runs that have not ended, a line each, in no order.

    From an index alone, and in one piece: whoever asks often compares it with what it was.
    """
    return connection.execute(_UNFINISHED_IDS).scalar_one() or ""


def get_many(connection: Connection, run_ids: Sequence[str]) -> Sequence[RunRecord]:
    """The runs of those ids that are there, in no order."""
    return [_record(row) for ids in portions(run_ids) for row in connection.execute(_BY_IDS, {"ids": ids}).mappings()]


def get_all(connection: Connection, run_ids: Sequence[str]) -> dict[str, RunRecord]:
    """These runs by id, in this order. Raises UnknownRunError where one is not here."""
    known = {run.id: run for run in get_many(connection, run_ids)}
    return {run_id: known.get(run_id) or get(connection, run_id) for run_id in run_ids}


@dataclass(frozen=True)
class Waiting:
    """What a queue must know of a run that waits in it."""

    run_id: str
    target: str | None
    priority: int
    created_at: float
    node_count: int
    gpus_per_node: int


def waiting(connection: Connection) -> Sequence[Waiting]:
    """Every queued run, in no order; without reading their specs whole."""
    return [Waiting(*row) for row in connection.execute(_WAITING)]


@dataclass(frozen=True)
class Holder:
    """A run that has nodes, and the GPU indices of each."""

    run_id: str
    target: str | None
    gpus: list[list[int]]


def holders(connection: Connection, statuses: Sequence[RunStatus]) -> Sequence[Holder]:
    """The runs in one of the statuses that have nodes, oldest first."""
    return _held(connection.execute(_HOLDERS, {"statuses": [status.value for status in statuses]}))


def holders_among(connection: Connection, run_ids: Sequence[str]) -> Sequence[Holder]:
    """Those of the runs that have nodes, in no order."""
    return [held for ids in portions(run_ids) for held in _held(connection.execute(_HOLDERS_AMONG, {"ids": ids}))]


def _held(rows: Iterable[Any]) -> list[Holder]:
    found: dict[str, Holder] = {}
    for run_id, target, gpus in rows:
        found.setdefault(run_id, Holder(run_id, target, [])).gpus.append(gpus)
    return list(found.values())


@dataclass(frozen=True)
class Tally:
    """How many runs an experiment has, how many of them go on, and when the newest was made."""

    runs: int
    unfinished: int
    newest_at: float


def tallies(connection: Connection) -> dict[str, Tally]:
    """Of each experiment that has runs, by its id. Read from indexes: no row of an ended run is looked at."""
    counted = select(runs.c.experiment_id, func.count(), func.max(runs.c.created_at)).group_by(runs.c.experiment_id)
    going_on = select(runs.c.experiment_id, func.count()).where(runs.c.status.in_(_UNFINISHED))
    rows = connection.execute(going_on.group_by(runs.c.experiment_id))
    unfinished: dict[str, int] = {row[0]: int(row[1]) for row in rows}
    return {
        experiment_id: Tally(count, unfinished.get(experiment_id, 0), newest_at)
        for experiment_id, count, newest_at in connection.execute(counted)
    }


def count_unfinished(connection: Connection) -> int:
    query = select(func.count()).select_from(runs).where(runs.c.status.in_(_UNFINISHED))
    return int(connection.execute(query).scalar_one())


def move(
    connection: Connection,
    run_id: str,
    to: RunStatus,
    reason: Reason,
    now: float,
    known: RunRecord | None = None,
    message: str = "",
    by: str = "server",
    error: RunError | None = None,
    attempts: Sequence[AttemptRecord] | None = None,
    **changes: Any,
) -> RunRecord | None:
    """Moves a run to another status and appends the event: the only writer of a status.

    Args:
        known: the record that the decision was made on; where the run has changed since, nothing happens
            and None is returned: somebody was quicker, and the decision is void.
        attempts: those that have ended, where one more of them has.
        changes: further columns set with the move (``environment_key``, ``warnings``...).
    Returns:
        The run as it is now.
    Raises:
        IllegalTransitionError: the present status may not be followed by ``to``; tells the run's story.
        UnknownRunError: there is no such run.
    """
    before = known or get(connection, run_id, lock=True)
    if not is_allowed(before.status, to):
        raise IllegalTransitionError(_story(connection, before, to))
    now = max(now, before.started_at or before.created_at)  # the clock may have been set back since
    values: dict[str, Any] = {
        "status": to,
        "version": before.version + 1,
        "reason": reason.value,
        "message": message,
        **changes,
    }
    if to is RunStatus.RUNNING and before.started_at is None:
        values["started_at"] = now
    if to.is_terminal:
        values["ended_at"] = now
    stored = {**values, "status": to.value}
    # A further attempt begins without the last one's error; what a caller said before the first one stays.
    if error is not None or values.get("attempt", before.attempt) != before.attempt:
        values["error"] = error
        stored["error"] = None if error is None else to_json(error)
    if attempts is not None:
        values["attempts"] = list(attempts)
        stored["attempts"] = [to_json(each) for each in attempts]
    changed = connection.execute(_MOVE, {**stored, "moved": run_id, "seen_version": before.version})
    if not changed.rowcount:
        return None
    _append_event(connection, run_id, RunEvent(now, before.status, to, reason.value, message, by))
    return replace(before, **values)


def change(connection: Connection, run_id: str, **values: Any) -> None:
    """Sets columns that are not the status. The version grows, so that followers see it."""
    assert "status" not in values
    connection.execute(update(runs).where(runs.c.id == run_id).values(version=runs.c.version + 1, **values))
    if run_facts.STATED_IN & values.keys():
        run_facts.put(connection, get(connection, run_id), anew=True)


def touch(connection: Connection, run_id: str, now: float) -> None:
    """Notes a heartbeat of an interactive run's client."""
    connection.execute(update(runs).where(runs.c.id == run_id).values(heartbeat_at=now))


def heartbeat_of(connection: Connection, run_id: str) -> float | None:
    value = connection.execute(select(runs.c.heartbeat_at).where(runs.c.id == run_id)).scalar_one_or_none()
    return None if value is None else float(value)


def events(connection: Connection, run_id: str) -> Sequence[RunEvent]:
    """The run's story, oldest first."""
    query = select(run_events).where(run_events.c.run_id == run_id).order_by(run_events.c.id)
    return [
        RunEvent(
            at=row["at"],
            from_status=RunStatus(row["from_status"]),
            to_status=RunStatus(row["to_status"]),
            reason=row["reason"],
            message=row["message"],
            by=row["by"],
        )
        for row in connection.execute(query).mappings()
    ]


def remove(connection: Connection, run_id: str) -> None:
    """Removes a run with all that is of it alone."""
    connection.execute(delete(runs).where(runs.c.id == run_id))


def children_of(connection: Connection, run_id: str) -> Sequence[str]:
    return list(connection.execute(select(runs.c.id).where(runs.c.parent_id == run_id)).scalars())


# Jobs: one row per node of an attempt.


@dataclass(frozen=True)
class JobRow:
    """What was started on one node, and what it last said."""

    run_id: str
    attempt: int
    node: int
    handle: dict[str, Any] | None
    gpus: list[int]
    started_at: float | None
    reported_at: float | None
    report: JobReport | None

    @property
    def ports(self) -> list[int]:
        """Leased for the attempt with its nodes."""
        return list((self.handle or {}).get("ports", ()))

    @property
    def salvages(self) -> int:
        """How many further jobs were started to collect what the first one left."""
        return int((self.handle or {}).get("salvages", 0))

    @property
    def has_no_ranks(self) -> bool:
        """Whether its ranks have ended for certain: its job says so, or is gone and all that it had started with it."""
        collects = self.report is not None and self.report.phase in ("collecting", "done")
        return collects or self.salvages > 0

    @property
    def has_stored(self) -> bool:
        """Whether its job has stored everything, or is gone."""
        return (self.report is not None and self.report.phase == "done") or self.salvages > 0


def add_jobs(
    connection: Connection, run_id: str, attempt: int, gpus: Sequence[Sequence[int]], ports: Sequence[int] = ()
) -> None:
    """Reserves the nodes of an attempt, and ports for it, before anything is started there."""
    known = {"handle": {"ports": list(ports)}} if ports else {}
    connection.execute(
        insert(jobs),
        [
            {"run_id": run_id, "attempt": attempt, "node": node, "gpus": list(given), **known}
            for node, given in enumerate(gpus)
        ],
    )


def leased_ports(connection: Connection) -> set[int]:
    """The ports of all attempts that have not ended."""
    query = select(jobs.c.handle).join(runs, (runs.c.id == jobs.c.run_id) & (runs.c.attempt == jobs.c.attempt))
    query = query.where(runs.c.status.in_(_UNFINISHED), jobs.c.node == 0)
    handles = connection.execute(query).scalars()
    return {port for handle in handles if handle is not None for port in handle.get("ports", ())}


def remove_jobs(connection: Connection, run_id: str, attempt: int) -> None:
    """Gives the nodes of an attempt back: nothing was started there."""
    connection.execute(delete(jobs).where(jobs.c.run_id == run_id, jobs.c.attempt == attempt))


def set_handles(
    connection: Connection, run_id: str, attempt: int, handles: Sequence[dict[str, Any]], now: float | None
) -> None:
    """Notes by what each job is found again. ``now`` None: they wait in their engine's queue, see ``set_begun``."""
    for node, handle in enumerate(handles):
        connection.execute(
            update(jobs)
            .where(jobs.c.run_id == run_id, jobs.c.attempt == attempt, jobs.c.node == node)
            .values(handle=handle, started_at=now)
        )


def set_begun(connection: Connection, run_id: str, attempt: int, now: float) -> None:
    """The jobs of an attempt have left their engine's queue."""
    ours = (jobs.c.run_id == run_id, jobs.c.attempt == attempt, jobs.c.started_at.is_(None))
    connection.execute(update(jobs).where(*ours).values(started_at=now))


def set_handle(connection: Connection, run_id: str, attempt: int, node: int, handle: dict[str, Any]) -> None:
    connection.execute(
        update(jobs)
        .where(jobs.c.run_id == run_id, jobs.c.attempt == attempt, jobs.c.node == node)
        .values(handle=handle)
    )


def report(connection: Connection, run_id: str, said: JobReport, now: float) -> bool:
    """Stores a job's report if it is newer than the one that is stored. Whether it was.

    Call it on a locked run: two reports at once are then taken one after the other.
    """
    row = job(connection, run_id, said.attempt, said.node)
    if row is None or (row.report is not None and row.report.sequence >= said.sequence):
        return False
    connection.execute(
        update(jobs)
        .where(jobs.c.run_id == run_id, jobs.c.attempt == said.attempt, jobs.c.node == said.node)
        .values(report=to_json(said), reported_at=now)
    )
    return True


def heartbeat(connection: Connection, run_id: str, attempt: int, node: int, now: float) -> None:
    connection.execute(
        update(jobs)
        .where(jobs.c.run_id == run_id, jobs.c.attempt == attempt, jobs.c.node == node)
        .values(reported_at=now)
    )


def job(connection: Connection, run_id: str, attempt: int, node: int) -> JobRow | None:
    query = select(jobs).where(jobs.c.run_id == run_id, jobs.c.attempt == attempt, jobs.c.node == node)
    row = connection.execute(query).mappings().first()
    return _job_row(row) if row else None


def jobs_of(connection: Connection, run_id: str, attempt: int) -> list[JobRow]:
    """The jobs of an attempt, by node."""
    rows = connection.execute(_JOBS_OF, {"run_id": run_id, "attempt": attempt}).mappings()
    return [_job_row(row) for row in rows]


def all_jobs_of(connection: Connection, run_id: str) -> list[JobRow]:
    """The jobs of all attempts of a run."""
    query = _JOBS.where(jobs.c.run_id == run_id)
    return [_job_row(row) for row in connection.execute(query).mappings()]


def jobs_of_many(connection: Connection, wanted: Sequence[RunRecord]) -> dict[str, list[JobRow]]:
    """The jobs of each run's present attempt, by run id and then by node."""
    found: dict[str, list[JobRow]] = {run.id: [] for run in wanted}
    for ids in portions(list(found)):
        for row in connection.execute(_PRESENT_JOBS, {"ids": ids}).mappings():
            found[row["run_id"]].append(_job_row(row))
    return found


def _job_row(row: Any) -> JobRow:
    return JobRow(
        run_id=row["run_id"],
        attempt=row["attempt"],
        node=row["node"],
        handle=row["handle"],
        gpus=row["gpus"],
        started_at=row["started_at"],
        reported_at=row["reported_at"],
        report=from_json(JobReport, row["report"]) if row["report"] else None,
    )


def _record(row: Any) -> RunRecord:
    return RunRecord(
        id=row["id"],
        number=row["number"],
        experiment=row["experiment"],
        type=row["type"],
        status=RunStatus(row["status"]),
        created_at=row["created_at"],
        version=row["version"],
        attempt=row["attempt"],
        parent_id=row["parent_id"],
        display_name=row["display_name"],
        description=row["description"],
        reason=row["reason"],
        message=row["message"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        target=row["target"],
        submitted_by=row["submitted_by"],
        snapshot=row["snapshot"],
        environment_key=row["environment_key"],
        spec=from_json(RunSpec, row["spec"]) if row["spec"] else None,
        error=from_json(RunError, row["error"]) if row["error"] else None,
        warnings=row["warnings"],
        tags=row["tags"],
        properties=row["properties"],
        attempts=[from_json(AttemptRecord, each) for each in row["attempts"] or ()],
        archived_at=row["archived_at"],
        files_removed_at=row["files_removed_at"],
    )


def _append_event(connection: Connection, run_id: str, event: RunEvent) -> None:
    connection.execute(
        _NEW_EVENT,
        {
            "run_id": run_id,
            "at": event.at,
            "from_status": event.from_status.value,
            "to_status": event.to_status.value,
            "reason": event.reason,
            "message": event.message,
            "by": event.by,
        },
    )


def _story(connection: Connection, record: RunRecord, to: RunStatus) -> str:
    steps = "; ".join(f"{e.to_status.value} ({e.reason}, by {e.by or 'server'})" for e in events(connection, record.id))
    return f"Run {record.id} is {record.status.value} and cannot become {to.value}. Its story: {steps}."
