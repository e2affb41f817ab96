"""Rows of runs, their events and their jobs. ``move`` is the only writer of a status."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, delete, func, insert, select, tuple_, update

from runyard.errors import IllegalTransitionError, UnknownRunError
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.jobs import JobReport
from runyard.protocol.runs import RunError, RunEvent, RunRecord, RunSpec
from runyard.protocol.status import Reason, RunStatus
from runyard_server.domain.transitions import is_allowed
from runyard_server.records.tables import experiments, jobs, run_events, runs

# Asked as "in", not as "not in": the index on status answers that without reading finished runs.
_UNFINISHED = [status.value for status in RunStatus if not status.is_terminal]


def add(connection: Connection, record: RunRecord, experiment_id: str) -> None:
    """Inserts a new run as it stands; its first event is written with it."""
    connection.execute(
        insert(runs).values(
            id=record.id,
            experiment_id=experiment_id,
            number=record.number,
            parent_id=record.parent_id,
            type=record.type,
            status=record.status.value,
            version=record.version,
            attempt=record.attempt,
            reason=record.reason,
            message=record.message,
            display_name=record.display_name,
            description=record.description,
            target=record.target,
            priority=record.spec.priority if record.spec else 0,
            submitted_by=record.submitted_by,
            snapshot=record.snapshot,
            environment_key=record.environment_key,
            created_at=record.created_at,
            started_at=record.started_at,
            spec=to_json(record.spec) if record.spec else None,
            warnings=record.warnings,
            tags=record.tags,
            properties=record.properties,
        )
    )
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
    query = _select().where(runs.c.id == run_id)
    if lock and connection.dialect.name == "postgresql":
        query = query.with_for_update(of=runs, key_share=True)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise UnknownRunError(f"There is no run {run_id!r} in this workspace. `runyard run list` shows those that are.")
    return _record(row)


def find(connection: Connection, run_id: str) -> RunRecord | None:
    row = connection.execute(_select().where(runs.c.id == run_id)).mappings().first()
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
    limit: int = 100


def list_matching(connection: Connection, wanted: RunFilter) -> Sequence[RunRecord]:
    """Runs that match, newest first."""
    query = _select()
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
    elif not wanted.include_children:
        query = query.where(runs.c.parent_id.is_(None))
    for column, pairs in ((runs.c.tags, wanted.tags), (runs.c.properties, wanted.properties)):
        for key, value in (pairs or {}).items():
            stored = column[key].as_string()
            query = query.where(stored.is_not(None) if value is None else stored == value)
    if wanted.before is not None:
        last = get(connection, wanted.before)
        query = query.where(tuple_(runs.c.created_at, runs.c.id) < (last.created_at, last.id))
    query = query.order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(wanted.limit)
    return [_record(row) for row in connection.execute(query).mappings()]


def in_status(connection: Connection, statuses: Sequence[RunStatus]) -> Sequence[RunRecord]:
    """Every run in one of the statuses, oldest first."""
    query = _select().where(runs.c.status.in_([status.value for status in statuses]))
    return [_record(row) for row in connection.execute(query.order_by(runs.c.created_at, runs.c.number)).mappings()]


def unfinished_versions(connection: Connection) -> Sequence[tuple[str, int]]:
    """Id and version of every run that has not ended, oldest first: cheap to ask often."""
    query = select(runs.c.id, runs.c.version).where(runs.c.status.in_(_UNFINISHED))
    return [(row[0], row[1]) for row in connection.execute(query.order_by(runs.c.created_at, runs.c.number))]


def queued_with_jobs(connection: Connection) -> Sequence[str]:
    """Ids of the queued runs whose nodes are reserved already."""
    query = select(runs.c.id).where(runs.c.status == RunStatus.QUEUED.value)
    query = query.where(
        select(jobs.c.run_id).where(jobs.c.run_id == runs.c.id, jobs.c.attempt == runs.c.attempt).exists()
    )
    return list(connection.execute(query).scalars())


def get_many(connection: Connection, run_ids: Sequence[str]) -> Sequence[RunRecord]:
    """The runs of those ids that are there, in no order."""
    found: list[RunRecord] = []
    for start in range(0, len(run_ids), 500):
        query = _select().where(runs.c.id.in_(run_ids[start : start + 500]))
        found += [_record(row) for row in connection.execute(query).mappings()]
    return found


def count_unfinished(connection: Connection) -> int:
    query = select(func.count()).select_from(runs).where(runs.c.status.in_(_UNFINISHED))
    return int(connection.execute(query).scalar_one())


def move(
    connection: Connection,
    run_id: str,
    to: RunStatus,
    reason: Reason,
    now: float,
    expected_version: int | None = None,
    message: str = "",
    by: str = "server",
    error: RunError | None = None,
    **changes: Any,
) -> RunRecord | None:
    """Moves a run to another status and appends the event: the only writer of a status.

    Args:
        expected_version: the version that the decision was made on; with another one stored, nothing
            happens and None is returned: somebody was quicker, and the decision is void.
        changes: further columns set with the move (``environment_key``, ``warnings``...).
    Raises:
        IllegalTransitionError: the present status may not be followed by ``to``; tells the run's story.
        UnknownRunError: there is no such run.
    """
    before = get(connection, run_id, lock=True)
    if expected_version is not None and before.version != expected_version:
        return None
    if not is_allowed(before.status, to):
        raise IllegalTransitionError(_story(connection, before, to))
    values: dict[str, Any] = {
        "status": to.value,
        "version": before.version + 1,
        "reason": reason.value,
        "message": message,
        **changes,
    }
    if to is RunStatus.RUNNING and before.started_at is None:
        values["started_at"] = now
    if to.is_terminal:
        values["ended_at"] = now
    if error is not None:
        values["error"] = to_json(error)
    connection.execute(update(runs).where(runs.c.id == run_id).values(**values))
    _append_event(connection, run_id, RunEvent(now, before.status, to, reason.value, message, by))
    return get(connection, run_id)


def change(connection: Connection, run_id: str, **values: Any) -> None:
    """Sets columns that are not the status. The version grows, so that followers see it."""
    assert "status" not in values
    connection.execute(update(runs).where(runs.c.id == run_id).values(version=runs.c.version + 1, **values))


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
    connection.execute(delete(runs).where(runs.c.id == run_id))


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


def add_jobs(connection: Connection, run_id: str, attempt: int, gpus: Sequence[Sequence[int]]) -> None:
    """Reserves the nodes of an attempt before anything is started there."""
    connection.execute(
        insert(jobs),
        [{"run_id": run_id, "attempt": attempt, "node": node, "gpus": list(given)} for node, given in enumerate(gpus)],
    )


def remove_jobs(connection: Connection, run_id: str, attempt: int) -> None:
    """Gives the nodes of an attempt back: nothing was started there."""
    connection.execute(delete(jobs).where(jobs.c.run_id == run_id, jobs.c.attempt == attempt))


def set_handles(
    connection: Connection, run_id: str, attempt: int, handles: Sequence[dict[str, Any]], now: float
) -> None:
    for node, handle in enumerate(handles):
        connection.execute(
            update(jobs)
            .where(jobs.c.run_id == run_id, jobs.c.attempt == attempt, jobs.c.node == node)
            .values(handle=handle, started_at=now)
        )


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
    query = select(jobs).where(jobs.c.run_id == run_id, jobs.c.attempt == attempt).order_by(jobs.c.node)
    return [_job_row(row) for row in connection.execute(query).mappings()]


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


def _select() -> Select[Any]:
    return select(runs, experiments.c.name.label("experiment")).join(
        experiments, experiments.c.id == runs.c.experiment_id
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
    )


def _append_event(connection: Connection, run_id: str, event: RunEvent) -> None:
    connection.execute(
        insert(run_events).values(
            run_id=run_id,
            at=event.at,
            from_status=event.from_status.value,
            to_status=event.to_status.value,
            reason=event.reason,
            message=event.message,
            by=event.by,
        )
    )


def _story(connection: Connection, record: RunRecord, to: RunStatus) -> str:
    steps = "; ".join(f"{e.to_status.value} ({e.reason}, by {e.by or 'server'})" for e in events(connection, record.id))
    return f"Run {record.id} is {record.status.value} and cannot become {to.value}. Its story: {steps}."
