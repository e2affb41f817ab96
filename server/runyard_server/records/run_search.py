"""Runs that match comparisons of tags, properties, metrics and columns, in any order of these: the ids, a page of them.

Where few runs fulfil one of the comparisons, they are looked up by it in an index, and only these are looked at further.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, select

from runyard.protocol.runs import RunRecord
from runyard_server.domain.filters.tree import Source
from runyard_server.domain.mlflow_filter import DATASET, METRIC, TAG, Comparison
from runyard_server.domain.run_arguments import PARAMETER
from runyard_server.records import run_facts
from runyard_server.records.runs import get_many
from runyard_server.records.tables import metric_summaries, runs
from runyard_server.records.tables import run_facts as facts

PROPERTY, COLUMN, STATUS = "property", "column", "status"

_STARTED = func.coalesce(runs.c.started_at, runs.c.created_at)
_COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "id": runs.c.id,
    "name": func.coalesce(runs.c.display_name, runs.c.id),
    "started_at": _STARTED,
    "ended_at": runs.c.ended_at,
    "created_at": runs.c.created_at,
    "ended_or_created_at": func.coalesce(runs.c.ended_at, runs.c.created_at),
    "parent_id": runs.c.parent_id,
    "description": runs.c.description,
}


@dataclass(frozen=True)
class RunOrder:
    """What runs are sorted by: a kind and a key, as in a comparison."""

    kind: str
    key: str
    ascends: bool


@dataclass(frozen=True)
class RunSearch:
    """Which runs.

    Attributes:
        wanted: comparisons of the kinds METRIC (its last number), TAG, PROPERTY, COLUMN (see ``_COLUMNS``), DATASET and
            STATUS; a STATUS is one of the texts of its list, one of a run's data sets has what a DATASET asks for, all
            others compare one value.
        type: only runs of this type; "" for any.
        but_type: runs of this type are left out.
        family: only this run and those below it; "" for any.
        archived: whether archived runs are those that are wanted; None: these too.
    """

    experiment_ids: Sequence[str]
    wanted: Sequence[Comparison] = ()
    orders: Sequence[RunOrder] = field(default_factory=tuple)
    type: str = ""
    but_type: str = ""
    family: str = ""
    archived: bool | None = None
    limit: int = 1000
    offset: int = 0


def search(connection: Connection, wanted: RunSearch) -> list[RunRecord]:
    """The runs of one page, in order; the newest first where nothing else is asked for."""
    conditions = [_holds(connection, one) for one in wanted.wanted]
    conditions.append(runs.c.experiment_id.in_(wanted.experiment_ids))
    few = _few(connection, wanted.wanted)
    if few is not None:
        conditions.append(runs.c.id.in_(few))
    if wanted.type:
        conditions.append(runs.c.type == wanted.type)
    if wanted.but_type:
        conditions.append(runs.c.type != wanted.but_type)
    if wanted.family:
        conditions.append(runs.c.id.in_(_family(wanted.family)))
    if wanted.archived is not None:
        conditions.append(runs.c.archived_at.is_not(None) if wanted.archived else runs.c.archived_at.is_(None))
    query = select(runs.c.id).where(*conditions)
    for order in wanted.orders:
        value = _value(order.kind, order.key)
        query = query.order_by(value.is_(None), value.asc() if order.ascends else value.desc())
    # The ids alone are sorted: whole records are read for one page only.
    query = query.order_by(_STARTED.desc(), runs.c.id).limit(wanted.limit).offset(wanted.offset)
    return _in_order(connection, list(connection.execute(query).scalars()))


def with_property_below(
    connection: Connection, experiment_ids: Sequence[str], prefix: str, limit: int
) -> list[RunRecord]:
    """The newest runs with a property whose name begins like that."""
    stated = exists().where(
        facts.c.run_id == runs.c.id,
        facts.c.source == Source.PROPERTY.value,
        facts.c.name.startswith(prefix, autoescape=True),
    )
    query = select(runs.c.id).where(runs.c.experiment_id.in_(experiment_ids), runs.c.archived_at.is_(None), stated)
    ids = list(connection.execute(query.order_by(runs.c.created_at.desc(), runs.c.id).limit(limit)).scalars())
    return _in_order(connection, ids)


def _in_order(connection: Connection, ids: Sequence[str]) -> list[RunRecord]:
    found = {record.id: record for record in get_many(connection, ids)}
    return [found[run_id] for run_id in ids if run_id in found]


def _family(run_id: str) -> Select[Any]:
    """The ids of a run and of all below it."""
    here = select(runs.c.id).where(runs.c.id == run_id).cte("family", recursive=True)
    below = runs.alias()
    return select(here.union(select(below.c.id).join(here, below.c.parent_id == here.c.id)).c.id)


# The conditions


def _few(connection: Connection, wanted: Sequence[Comparison]) -> list[str] | None:
    """The ids of the runs among which are all that fulfil one of the conditions, where these are few."""
    best: list[str] | None = None
    for one in wanted:
        query = _ids(one)
        if query is not None:
            best = run_facts.fewer(connection, query, best)
    return best


def _ids(one: Comparison) -> Select[Any] | None:
    """The ids of runs among which are those that a comparison holds for, where an index tells them."""
    if one.kind == METRIC and one.sign in ("=", "<", "<=", ">", ">=", "IS NOT NULL"):
        value = metric_summaries.c.last
        said = value.is_not(None) if one.sign == "IS NOT NULL" else _compared(value, one.sign, one.value)
        return select(metric_summaries.c.run_id).where(metric_summaries.c.name == one.key, said)
    if one.kind == DATASET:
        if one.sign not in ("=", "IN"):
            return None
        names = [run_facts.attribute_in_facts(one.key, text) for text in _texts(one.value)]
        return select(facts.c.run_id).where(facts.c.source == run_facts.DATASET, facts.c.name.in_(names))
    stated = _stated(one)
    return select(facts.c.run_id).where(*stated) if stated is not None else None


def _stated(one: Comparison) -> tuple[ColumnElement[bool], ...] | None:
    """Which facts runs have that a comparison holds for: they are cut, and have the arguments of scripts beside these."""
    if one.kind not in (TAG, PROPERTY) or one.sign not in ("=", "IN", "IS NOT NULL"):
        return None
    source, name = Source.TAG if one.kind == TAG else Source.PROPERTY, one.key
    if one.kind == PROPERTY and name.startswith(PARAMETER):
        source, name = Source.ARGUMENT, name.removeprefix(PARAMETER)
    rows = run_facts.stating(source, name, None)
    if one.sign == "IS NOT NULL":
        return rows
    return (*rows, facts.c.value.in_([run_facts.value_in_facts(text) for text in _texts(one.value)]))


def _value(kind: str, key: str) -> Any:
    if kind == METRIC:
        here = (metric_summaries.c.run_id == runs.c.id, metric_summaries.c.name == key)
        return select(metric_summaries.c.last).where(*here).correlate(runs).scalar_subquery()
    if kind == COLUMN:
        return _COLUMNS[key]
    if kind == STATUS:
        return runs.c.status
    return (runs.c.tags if kind == TAG else runs.c.properties)[key].as_string()


def _holds(connection: Connection, one: Comparison) -> Any:
    if one.kind == DATASET:
        here = (facts.c.run_id == runs.c.id, facts.c.source == run_facts.DATASET)
        of_it = facts.c.name.startswith(run_facts.attribute_in_facts(one.key, ""), autoescape=True)
        values = tuple(run_facts.value_in_facts(text) for text in _texts(one.value))
        asked = values if isinstance(one.value, tuple) else values[0]
        return exists().where(*here, of_it, _is(connection, facts.c.value, one.sign, asked))
    value, sign, with_ = _value(one.kind, one.key), one.sign, one.value
    if one.kind == METRIC and connection.dialect.name == "postgresql" and sign not in ("IS NULL", "IS NOT NULL"):
        # There NaN is greater than all numbers; here it is neither more nor less than any.
        return and_(value != float("nan"), _compared(value, sign, with_))
    return _is(connection, value, sign, with_)


def _is(connection: Connection, value: Any, sign: str, with_: Any) -> Any:
    if sign == "IS NULL":
        return value.is_(None)
    if sign == "IS NOT NULL":
        return value.is_not(None)
    if sign == "IN":
        return value.in_(_texts(with_))
    if sign == "NOT IN":
        return and_(value.is_not(None), value.not_in(_texts(with_)))
    if sign in ("LIKE", "ILIKE"):
        return _is_like(connection, value, str(with_), sign == "ILIKE")
    return _compared(value, sign, with_)


def _texts(value: Any) -> Sequence[str]:
    return list(value) if isinstance(value, tuple) else [str(value)]


def _compared(value: Any, sign: str, with_: Any) -> Any:
    match sign:
        case "=":
            return value == with_
        case "!=":
            return value != with_
        case "<":
            return value < with_
        case "<=":
            return value <= with_
        case ">":
            return value > with_
        case _:
            return value >= with_


def _is_like(connection: Connection, value: Any, pattern: str, ignore_case: bool) -> Any:
    """SQL's LIKE, which no database does the same way: ``\\`` is no escape, and letters count unless told not to."""
    if ignore_case:
        value, pattern = func.lower(value), pattern.lower()
    if connection.dialect.name == "postgresql":
        return value.like(pattern, escape="")
    # SQLite's own LIKE does not tell capitals apart; its GLOB does, with signs of its own.
    globbed = "".join({"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}.get(sign, sign) for sign in pattern)
    return value.op("GLOB")(globbed)
