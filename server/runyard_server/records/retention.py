"""Rows of retention rules, and what must be known of many runs at once to decide on them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, delete, func, insert, select, update

from runyard.protocol.retention import KEEP, RetentionAction, RetentionRuleRecord
from runyard.protocol.status import RunStatus
from runyard_server.domain.filters.tree import Source
from runyard_server.domain.retention import Outline
from runyard_server.records.portions import portions
from runyard_server.records.tables import artifacts, experiments, models, run_facts, runs
from runyard_server.records.tables import retention_rules as t

_OUTLINE = select(
    runs.c.id,
    experiments.c.name,
    runs.c.number,
    runs.c.parent_id,
    runs.c.type,
    runs.c.status,
    runs.c.display_name,
    runs.c.created_at,
    runs.c.ended_at,
    runs.c.archived_at,
    runs.c.files_removed_at,
    runs.c.snapshot,
).join(experiments, experiments.c.id == runs.c.experiment_id)
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_BY_IDS = _OUTLINE.where(runs.c.id.in_(_IDS))
_BELOW = _OUTLINE.where(runs.c.parent_id.in_(_IDS)).order_by(runs.c.created_at, runs.c.id)
_KEPT = select(run_facts.c.run_id).where(
    run_facts.c.run_id.in_(_IDS), run_facts.c.source == Source.TAG.value, run_facts.c.name == KEEP
)
_MODELS = (
    select(models.c.run_id, models.c.name, models.c.version)
    .where(models.c.run_id.in_(_IDS), models.c.version > 0)
    .order_by(models.c.name, models.c.version)
)
_SIZES = select(artifacts.c.run_id, func.sum(artifacts.c.size)).where(artifacts.c.run_id.in_(_IDS)).group_by("run_id")


# The rules


def add(connection: Connection, rule: RetentionRuleRecord) -> None:
    values = {**rule.__dict__, "action": rule.action.value, "filter": rule.where}
    connection.execute(insert(t).values({name: value for name, value in values.items() if name in t.c}))


def find(connection: Connection, name: str) -> RetentionRuleRecord | None:
    row = connection.execute(select(t).where(t.c.name == name)).mappings().first()
    return None if row is None else _rule(row)


def list_all(connection: Connection) -> list[RetentionRuleRecord]:
    """Every rule, by name."""
    return [_rule(row) for row in connection.execute(select(t).order_by(t.c.name)).mappings()]


def remove(connection: Connection, name: str) -> bool:
    """Whether there was such a rule."""
    return connection.execute(delete(t).where(t.c.name == name)).rowcount > 0


def set_applied(connection: Connection, names: Sequence[str], now: float) -> None:
    connection.execute(update(t).where(t.c.name.in_(names)).values(applied_at=now))


def _rule(row: Mapping[Any, Any]) -> RetentionRuleRecord:
    known = {name: value for name, value in row.items() if name != "filter"}
    return RetentionRuleRecord(**{**known, "action": RetentionAction(row["action"]), "where": row["filter"]})


# The runs


def outlines(connection: Connection, run_ids: Sequence[str]) -> list[Outline]:
    """Those of the runs that are here, in the order of their ids here."""
    known = {run.run_id: run for run in map(_outline, _rows(connection, _BY_IDS, run_ids))}
    return [known[run_id] for run_id in run_ids if run_id in known]


def below(connection: Connection, run_ids: Iterable[str]) -> dict[str, list[Outline]]:
    """All runs below each of these, those above first. None of these stands below another one."""
    found: dict[str, list[Outline]] = {run_id: [] for run_id in run_ids}
    top = {run_id: run_id for run_id in found}
    level = list(found)
    while level:
        lower = [_outline(row) for row in _rows(connection, _BELOW, level)]
        for run in lower:
            assert run.parent_id is not None
            top[run.run_id] = top[run.parent_id]
            found[top[run.run_id]].append(run)
        level = [run.run_id for run in lower]
    return found


def tagged_to_be_kept(connection: Connection, run_ids: Sequence[str]) -> set[str]:
    return {row[0] for row in _rows(connection, _KEPT, run_ids)}


def registered_models(connection: Connection, run_ids: Sequence[str]) -> dict[str, str]:
    """The first model, as ``name:version``, that was registered from each of the runs that made one."""
    found: dict[str, str] = {}
    for run_id, name, version in _rows(connection, _MODELS, run_ids):
        found.setdefault(run_id, f"{name}:{version}")
    return found


def sizes(connection: Connection, run_ids: Sequence[str]) -> dict[str, int]:
    """Bytes of the files of each run that has any."""
    return {row[0]: int(row[1]) for row in _rows(connection, _SIZES, run_ids)}


def _rows(connection: Connection, query: Any, run_ids: Sequence[str]) -> Iterator[Any]:
    for some in portions(run_ids):
        yield from connection.execute(query, {"ids": list(some)})


def _outline(row: Any) -> Outline:
    run_id, experiment, number, parent_id, type_, status, *rest = row
    return Outline(run_id, experiment, number, parent_id, type_, RunStatus(status), *rest)
