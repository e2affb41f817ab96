"""The table of runs: those that a filter holds for, sorted by anything that runs have, a page at a time.

A page begins after the last row of the one before, by that row's own values and not by a count of rows: runs that are
added or removed meanwhile move none to another page. What a database reads for a page is kept to what it shows:

- Where few runs fulfil one of the conditions, they are looked up by it, and only these are looked at further.
- Else the table is read in its order from an index until the page is full.
"""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any as Anything

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, false, func, not_, or_, select, true, tuple_

from runyard.errors import UserErrorException
from runyard.protocol.runs import RunRecord
from runyard_server.domain.filters.tree import (
    EVERYTHING,
    All,
    Any,
    Comparison,
    Expression,
    Field,
    Membership,
    Not,
    NotANumber,
    Pattern,
    Presence,
    Source,
    Words,
    conjuncts,
)
from runyard_server.domain.spool_lines import SCALAR
from runyard_server.records.run_facts import fewer
from runyard_server.records.runs import get_many, is_number
from runyard_server.records.tables import experiments, metric_summaries, run_facts, run_words, runs

_FACTS = (Source.TAG, Source.PROPERTY, Source.ARGUMENT)
# Columns whose index ends in the newest runs with a value.
_INDEXED = ("status", "target", "experiment", "parent", "id")

Condition = ColumnElement[bool]


@dataclass(frozen=True)
class Order:
    """What the table is sorted by. Runs that have no such value come last, either way."""

    field: Field
    ascends: bool = False


@dataclass(frozen=True)
class TableQuery:
    """Which runs, in which order; without one the newest first.

    Attributes:
        after: where the page before ended, as ``TablePage.next`` says.
    """

    where: Expression = EVERYTHING
    order: Order | None = None
    experiment: str | None = None
    view: str = "active"  # or "archived", "all"
    include_children: bool = False
    after: str | None = None
    limit: int = 100


@dataclass(frozen=True)
class TablePage:
    """``next`` is where the next page begins, None after the last one."""

    runs: Sequence[RunRecord]
    next: str | None


@dataclass(frozen=True)
class _Phase:
    """A part of the table that one query reads in order: for example the runs that have the metric, then those without."""

    query: Select[Anything]
    keys: tuple[ColumnElement[Anything], ...]
    types: tuple[type, ...]
    ascends: bool


@dataclass(frozen=True)
class _Place:
    """Where a page ended: phase, values of the last row, and the time that the first page was asked for at."""

    phase: int
    keys: tuple[Anything, ...]
    now: float


def search(connection: Connection, wanted: TableQuery, now: float) -> TablePage:
    """One page of the table.

    Raises:
        UserErrorException: ``after`` is from no table like this.
    """
    place = _read_place(wanted.after) if wanted.after else None
    now = place.now if place else now
    phases = _phases(connection, wanted, now)
    if place is not None:
        _check(place, phases)
    found: list[tuple[_Place, str]] = []
    first = place.phase if place else 0
    for number, phase in enumerate(phases[first:], first):
        missing = wanted.limit + 1 - len(found)
        if missing <= 0:
            break
        query = phase.query
        if place is not None and number == first:
            row, values = tuple_(*phase.keys), place.keys
            query = query.where(row > values if phase.ascends else row < values)
        query = query.order_by(*(key.asc() if phase.ascends else key.desc() for key in phase.keys)).limit(missing)
        found += [(_Place(number, tuple(row[1:]), now), row[0]) for row in connection.execute(query)]
    shown = found[: wanted.limit]
    records = {record.id: record for record in get_many(connection, [run_id for _, run_id in shown])}
    following = _write_place(shown[-1][0]) if len(found) > wanted.limit else None
    return TablePage([records[run_id] for _, run_id in shown if run_id in records], following)


def matching(connection: Connection, where: Expression, view: str, now: float) -> list[str]:
    """The ids of all runs that a filter holds for and that are below no other one, the newest first."""
    (phase,) = _phases(connection, TableQuery(where, view=view), now)
    query = phase.query.where(func.coalesce(runs.c.parent_id, "") == "")
    return [row[0] for row in connection.execute(query.order_by(*(key.desc() for key in phase.keys)))]


def is_matching(connection: Connection, run_id: str, where: Expression, view: str, now: float) -> bool:
    """Whether a filter holds for one run: a look at that run alone."""
    query = select(runs.c.id).where(runs.c.id == run_id, _Asker(connection, now).holds(where), *_in_view(view))
    return connection.execute(query).first() is not None


def _in_view(view: str) -> list[Condition]:
    archived = runs.c.archived_at
    return [] if view == "all" else [archived.is_(None) if view == "active" else archived.is_not(None)]


# The order


def _phases(connection: Connection, wanted: TableQuery, now: float) -> list[_Phase]:
    parts = list(conjuncts(wanted.where))
    asks = _Asker(connection, now)
    few = _few(connection, asks, parts)
    driver = None if few is not None or wanted.order is not None else _driver(parts)
    conditions = [asks.holds(part) for part in parts if part is not driver]
    if few is not None:
        conditions.append(runs.c.id.in_(few))
    conditions += _in_view(wanted.view)
    if wanted.experiment is not None:
        conditions.append(runs.c.experiment_id == _experiment_id(wanted.experiment))
    if not wanted.include_children and not any(_names(part, "parent") for part in parts):
        narrow = few is not None or driver is not None or wanted.order is not None or wanted.experiment is not None
        narrow = narrow or any(_is_indexed(part) for part in parts)
        # The same, without the index on parents: almost every run has none, which SQLite does not know.
        conditions.append(func.coalesce(runs.c.parent_id, "") == "" if narrow else runs.c.parent_id.is_(None))
    if driver is not None:
        assert isinstance(driver, Comparison)
        query = select(run_facts.c.run_id, run_facts.c.created_at, run_facts.c.run_id).join(
            runs, runs.c.id == run_facts.c.run_id
        )
        here = (_is_fact(run_facts, driver.field), run_facts.c.value == driver.value)
        keys = (run_facts.c.created_at, run_facts.c.run_id)
        return [_Phase(query.where(*here, *conditions), keys, (float, str), ascends=False)]
    return [replace(phase, query=phase.query.where(*conditions)) for phase in _sorted(connection, wanted.order, asks)]


def _sorted(connection: Connection, order: Order | None, asks: "_Asker") -> list[_Phase]:
    if order is None:
        return [_by((runs.c.created_at,), (float,), ascends=False)]
    field, ascends = order.field, order.ascends
    if field.source is Source.METRIC:
        number = metric_summaries.c[field.part]
        here = and_(metric_summaries.c.name == field.name, is_number(connection, number))
        query = _from(metric_summaries, number).where(here)
        other = metric_summaries.alias()
        has = and_(other.c.name == field.name, is_number(connection, other.c[field.part]))
        without = not_(exists().where(other.c.run_id == runs.c.id, has))
        return [_Phase(query, (number, metric_summaries.c.run_id), (float, str), ascends), _without(without)]
    if field.source in _FACTS:
        here = _is_fact(run_facts, field)
        number, value = run_facts.c.number, run_facts.c.value
        numbers = _from(run_facts, number).where(here, number.is_not(None))
        texts = _from(run_facts, value, run_facts.c.created_at).where(here, number.is_(None))
        other = run_facts.alias()
        without = not_(exists().where(other.c.run_id == runs.c.id, _is_fact(other, field)))
        return [
            _Phase(numbers, (number, run_facts.c.run_id), (float, str), ascends),
            _Phase(texts, (value, run_facts.c.created_at, run_facts.c.run_id), (str, float, str), ascends),
            _without(without),
        ]
    if field.name == "submitted":
        return [_by((runs.c.created_at,), (float,), ascends)]
    if field.name == "age":
        return [_by((runs.c.created_at,), (float,), not ascends)]
    if field.name == "status":  # the index has the time between
        return [_by((runs.c.status, runs.c.created_at), (str, float), ascends)]
    column = asks.column(field.name)
    if field.name == "id":
        return [_by((), (), ascends)]
    kind = str if field.kind.value == "text" else float
    valued = _by((column,), (kind,), ascends)
    return [replace(valued, query=valued.query.where(column.is_not(None))), _without(column.is_(None))]


def _by(keys: tuple[ColumnElement[Anything], ...], types: tuple[type, ...], ascends: bool) -> _Phase:
    keys = (*keys, runs.c.id)
    return _Phase(select(runs.c.id, *keys), keys, (*types, str), ascends)


def _from(table: Anything, *keys: ColumnElement[Anything]) -> Select[Anything]:
    return select(table.c.run_id, *keys, table.c.run_id).join(runs, runs.c.id == table.c.run_id)


def _without(condition: Condition) -> _Phase:
    """The runs that have no value to be sorted by, newest first."""
    phase = _by((runs.c.created_at,), (float,), ascends=False)
    return replace(phase, query=phase.query.where(condition))


# The conditions


def _few(connection: Connection, asks: "_Asker", parts: Sequence[Expression]) -> list[str] | None:
    """The ids of the runs that fulfil one of the conditions, where these are few."""
    best: list[str] | None = None
    # Words are looked for in every run; all others are the beginning of an index.
    for part in sorted(parts, key=lambda part: isinstance(part, Words | Pattern)):
        if best is not None and isinstance(part, Words | Pattern):
            break
        query = asks.ids(part)
        if query is not None:
            best = fewer(connection, query, best)
    return best


def _driver(parts: Sequence[Expression]) -> Expression | None:
    """A condition whose index has the newest runs at its end."""
    for part in parts:
        if isinstance(part, Comparison) and part.field.source in _FACTS and part.sign == "=":
            if isinstance(part.value, str):
                return part
    return None


def _names(part: Expression, column: str) -> bool:
    field = getattr(part, "field", None)
    return isinstance(field, Field) and field.source is Source.COLUMN and field.name == column


def _is_indexed(part: Expression) -> bool:
    return isinstance(part, Comparison) and part.sign == "=" and any(_names(part, column) for column in _INDEXED)


def _is_fact(facts: Anything, field: Field) -> Condition:
    return and_(facts.c.source == field.source.value, facts.c.name == field.name)


def _experiment_id(name: str) -> Anything:
    return select(experiments.c.id).where(experiments.c.name == name).scalar_subquery()


class _Asker:
    """A filter in the words of a database. A condition on what a run has not does not hold, and its opposite does."""

    def __init__(self, connection: Connection, now: float) -> None:
        self._connection = connection
        self._now = now

    def column(self, name: str) -> ColumnElement[Anything]:
        columns: dict[str, Callable[[], ColumnElement[Anything]]] = {
            "name": lambda: runs.c.display_name,
            "experiment": lambda: (
                select(experiments.c.name).where(experiments.c.id == runs.c.experiment_id).scalar_subquery()
            ),
            "by": lambda: runs.c.submitted_by,
            "parent": lambda: runs.c.parent_id,
            "environment": lambda: runs.c.environment_key,
            "submitted": lambda: runs.c.created_at,
            "started": lambda: runs.c.started_at,
            "ended": lambda: runs.c.ended_at,
            "age": lambda: self._now - runs.c.created_at,
            "duration": lambda: func.coalesce(runs.c.ended_at, self._now) - runs.c.started_at,
        }
        found = columns.get(name)
        return found() if found else runs.c[name]

    def holds(self, expression: Expression) -> Condition:
        """The expression as a condition on a row of runs."""
        match expression:
            case All(parts):
                return and_(true(), *(self.holds(part) for part in parts))
            case Any(parts):
                return or_(false(), *(self.holds(part) for part in parts))
            case Not(inner):
                return not_(self.holds(inner))
            case Words():
                return exists().where(run_words.c.run_id == runs.c.id, self._has_words(expression))
        if expression.field.source is Source.COLUMN:
            return self._column_holds(expression)
        table, here, value = self._rows(expression)
        return exists().where(table.c.run_id == runs.c.id, here, value)

    def ids(self, expression: Expression) -> Select[Anything] | None:
        """The ids of the runs that an expression holds for, where an index or one narrow table tells them."""
        if isinstance(expression, Words):
            return select(run_words.c.run_id).where(self._has_words(expression))
        if isinstance(expression, All | Any | Not) or expression.field.source is Source.COLUMN:
            return None
        table, here, value = self._rows(expression)
        return select(table.c.run_id).where(here, value)

    def _has_words(self, wanted: Words) -> Condition:
        return run_words.c.words.contains(wanted.text.lower(), autoescape=True)

    def _column_holds(self, expression: Expression) -> Condition:
        assert not isinstance(expression, All | Any | Not | Words | NotANumber)
        name = expression.field.name
        if name == "experiment" and isinstance(expression, Comparison) and expression.sign == "=":
            return runs.c.experiment_id == func.coalesce(_experiment_id(str(expression.value)), "")
        if name == "experiment" and not isinstance(expression, Presence):
            named = select(experiments.c.id).where(self._compared(experiments.c.name, expression))
            return runs.c.experiment_id.in_(named)
        if name == "age" and isinstance(expression, Comparison):  # by the time itself, which has an index
            turned = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(expression.sign, expression.sign)
            at = self._now - float(expression.value)
            return self._compared(runs.c.created_at, Comparison(expression.field, turned, at))
        value = self.column(name)
        if isinstance(expression, Presence):
            return value.is_not(None)
        nullable = name not in ("id", "number", "status", "type", "attempt", "priority", "submitted", "age")
        said = self._compared(value, expression)
        return and_(value.is_not(None), said) if nullable else said

    def _rows(self, expression: Expression) -> tuple[Anything, Condition, Condition]:
        """The table that tells of the expression's field, which of its rows, and what must be true of one."""
        assert not isinstance(expression, All | Any | Not | Words)
        field = expression.field
        if field.source is Source.METRIC:
            return self._metric_rows(field, expression)
        table = run_facts.alias()
        here = _is_fact(table, field)
        if isinstance(expression, Presence):
            return table, here, true()
        if isinstance(expression, Membership):
            texts = [value for value in expression.values if isinstance(value, str)]
            numbers = [value for value in expression.values if not isinstance(value, str)]
            return table, here, or_(table.c.value.in_(texts), table.c.number.in_(numbers))
        numeric = isinstance(expression, Comparison) and not isinstance(expression.value, str)
        return table, here, self._compared(table.c.number if numeric else table.c.value, expression)

    def _metric_rows(self, field: Field, expression: Expression) -> tuple[Anything, Condition, Condition]:
        table = metric_summaries.alias()
        here, value = table.c.name == field.name, table.c[field.part]
        if isinstance(expression, Presence):
            return table, here, true()
        if isinstance(expression, NotANumber):
            is_nan: Condition = value.is_(None)
            if self._connection.dialect.name == "postgresql":
                is_nan = is_nan | (value == float("nan"))
            return table, here, and_(table.c.type == SCALAR, table.c.count > 0, is_nan)
        return table, here, and_(is_number(self._connection, value), self._compared(value, expression))

    def _compared(self, value: ColumnElement[Anything], expression: Expression) -> Condition:
        match expression:
            case Membership(values=values):
                return value.in_(values)
            case Pattern(pattern=pattern):
                return value.ilike(pattern, escape="\\")
            case Comparison(sign=sign, value=wanted):
                return value.op(sign, is_comparison=True)(wanted)
        raise AssertionError(f"{type(expression).__name__} compares nothing")


# Where a page ends


def _write_place(place: _Place) -> str:
    return base64.urlsafe_b64encode(json.dumps([place.phase, place.now, *place.keys]).encode()).decode().rstrip("=")


def _read_place(text: str) -> _Place:
    try:
        phase, now, *keys = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if isinstance(phase, int) and isinstance(now, float) and phase >= 0:
            return _Place(phase, tuple(keys), now)
    except (ValueError, TypeError):
        pass
    raise _no_place()


def _check(place: _Place, phases: Sequence[_Phase]) -> None:
    types = phases[place.phase].types if place.phase < len(phases) else ()
    fits = len(types) == len(place.keys) and all(map(_fits, place.keys, types))
    if not fits:
        raise _no_place()


def _fits(key: Anything, wanted: type) -> bool:
    if wanted is str:
        return isinstance(key, str) and "\x00" not in key
    return (
        isinstance(key, int | float)
        and not isinstance(key, bool)
        and abs(key) < 1e300
        or key in (float("inf"), -float("inf"))
    )


def _no_place() -> UserErrorException:
    return UserErrorException(
        "after is no place in this table. Give what the page before said is next, with the same filter and order, "
        "or leave it out for the first page."
    )
