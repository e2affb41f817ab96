"""Runs that match comparisons of tags, properties, metrics and columns, in any order of these: the ids, a page of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, select

from runyard.protocol.runs import RunRecord
from runyard_server.domain.mlflow_filter import METRIC, TAG, Comparison
from runyard_server.records.runs import get_many
from runyard_server.records.tables import metric_summaries, runs

PROPERTY, COLUMN, STATUS = "property", "column", "status"

_STARTED = func.coalesce(runs.c.started_at, runs.c.created_at)
_COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "id": runs.c.id,
    "name": func.coalesce(runs.c.display_name, runs.c.id),
    "started_at": _STARTED,
    "ended_at": runs.c.ended_at,
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
        wanted: comparisons of the kinds METRIC (its last number), TAG, PROPERTY, COLUMN (see ``_COLUMNS``) and STATUS;
            a STATUS is one of the texts of its list, all others compare one value.
        but_type: runs of this type are left out.
        archived: whether archived runs are those that are wanted; None: these too.
    """

    experiment_ids: Sequence[str]
    wanted: Sequence[Comparison] = ()
    orders: Sequence[RunOrder] = field(default_factory=tuple)
    but_type: str = ""
    archived: bool | None = None
    limit: int = 1000
    offset: int = 0


def search(connection: Connection, wanted: RunSearch) -> list[RunRecord]:
    """The runs of one page, in order; the newest first where nothing else is asked for."""
    conditions = [_holds(connection, one) for one in wanted.wanted]
    conditions.append(runs.c.experiment_id.in_(wanted.experiment_ids))
    if wanted.but_type:
        conditions.append(runs.c.type != wanted.but_type)
    if wanted.archived is not None:
        conditions.append(runs.c.archived_at.is_not(None) if wanted.archived else runs.c.archived_at.is_(None))
    query = select(runs.c.id).where(*conditions)
    for order in wanted.orders:
        value = _value(order.kind, order.key)
        query = query.order_by(value.is_(None), value.asc() if order.ascends else value.desc())
    # The ids alone are sorted: whole records are read for one page only.
    query = query.order_by(_STARTED.desc(), runs.c.id).limit(wanted.limit).offset(wanted.offset)
    ids = list(connection.execute(query).scalars())
    found = {record.id: record for record in get_many(connection, ids)}
    return [found[run_id] for run_id in ids if run_id in found]


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
    value, sign, with_ = _value(one.kind, one.key), one.sign, one.value
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
    if one.kind == METRIC and connection.dialect.name == "postgresql":
        # There NaN is greater than all numbers; here it is neither more nor less than any.
        return and_(value != float("nan"), _compared(value, sign, with_))
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
