"""Rows of compute targets, and who uses them now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, bindparam, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from runyard.protocol.codec import from_json, to_json
from runyard.protocol.compute import ComputeRecord, ComputeSpec
from runyard.protocol.status import RunStatus
from runyard_server.records.tables import compute_targets as t
from runyard_server.records.tables import jobs, runs

_BY_NAME = select(t).where(t.c.name == bindparam("wanted"))
_UNFINISHED = [status.value for status in RunStatus if not status.is_terminal]


def get(connection: Connection, name: str) -> ComputeRecord | None:
    row = connection.execute(_BY_NAME, {"wanted": name}).mappings().first()
    return _record(row) if row else None


def list_all(connection: Connection) -> Sequence[ComputeRecord]:
    """Every stored compute target, by name."""
    return [_record(row) for row in connection.execute(select(t).order_by(t.c.name)).mappings()]


def add(connection: Connection, record: ComputeRecord) -> ComputeRecord:
    """Inserts ``record``; gives what is stored of that name, which is another's if it came first."""
    make = postgresql_insert if connection.dialect.name == "postgresql" else sqlite_insert
    connection.execute(
        make(t)
        .values(
            name=record.spec.name,
            spec=to_json(record.spec),
            executor=record.executor,
            provisioning_state=record.provisioning_state,
            created_at=record.created_at,
            modified_at=record.modified_at,
            state_changed_at=record.state_changed_at,
        )
        .on_conflict_do_nothing()
    )
    stored = get(connection, record.spec.name)
    assert stored is not None
    return stored


def change(connection: Connection, spec: ComputeSpec, now: float) -> None:
    """Replaces the spec of the target of that name."""
    connection.execute(update(t).where(t.c.name == spec.name).values(spec=to_json(spec), modified_at=now))


def remove(connection: Connection, name: str) -> None:
    connection.execute(delete(t).where(t.c.name == name))


def busy_nodes(connection: Connection) -> Mapping[str, int]:
    """Nodes with a job of a run that has not ended, by target; targets without any are absent."""
    query = (
        select(runs.c.target, func.count())
        .select_from(runs.join(jobs, _present_job()))
        .where(_unfinished(), _is_started(), runs.c.target.is_not(None))
        .group_by(runs.c.target)
    )
    return {str(target): int(count) for target, count in connection.execute(query)}


def unfinished_runs(connection: Connection, name: str) -> Sequence[str]:
    """Ids of the target's runs that have not ended, oldest first."""
    query = select(runs.c.id).where(runs.c.target == name, _unfinished()).order_by(runs.c.created_at)
    return [str(row[0]) for row in connection.execute(query)]


@dataclass(frozen=True)
class NodeUse:
    """One busy node. ``node`` counts from 0 inside its run."""

    run_id: str
    node: int
    gpus: Sequence[int]


def nodes_of(connection: Connection, name: str) -> Sequence[NodeUse]:
    """The target's busy nodes, those of the oldest run first."""
    query = (
        select(runs.c.id, jobs.c.node, jobs.c.gpus)
        .select_from(runs.join(jobs, _present_job()))
        .where(runs.c.target == name, _unfinished(), _is_started())
        .order_by(runs.c.created_at, runs.c.id, jobs.c.node)
    )
    return [NodeUse(str(run_id), int(node), list(gpus)) for run_id, node, gpus in connection.execute(query)]


def _present_job() -> ColumnElement[bool]:
    return and_(jobs.c.run_id == runs.c.id, jobs.c.attempt == runs.c.attempt)


def _is_started() -> ColumnElement[bool]:
    """Has an executor's handle: an interactive run's client has none, and holds no node."""
    executor: ColumnElement[str] = jobs.c.handle[("job", "executor")].as_string()
    return executor.is_not(None)


def _unfinished() -> ColumnElement[bool]:
    return runs.c.status.in_(_UNFINISHED)


def _record(row: RowMapping) -> ComputeRecord:
    return ComputeRecord(
        spec=from_json(ComputeSpec, row["spec"]),
        executor=row["executor"],
        provisioning_state=row["provisioning_state"],
        created_at=row["created_at"],
        modified_at=row["modified_at"],
        state_changed_at=row["state_changed_at"],
    )
