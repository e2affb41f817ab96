"""The table of runs as people ask for it: a filter and an order in words, and the columns that they want to see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from runyard.errors import UserErrorException
from runyard.protocol.runs import RunRecord
from runyard_server.domain.clock import Clock
from runyard_server.domain.filters.parser import parse, parse_field
from runyard_server.domain.filters.tree import All, Comparison, Field, Source, conjuncts
from runyard_server.domain.run_arguments import of_run
from runyard_server.records import metrics, run_table
from runyard_server.records.engine import Database
from runyard_server.records.metrics import MetricSummary
from runyard_server.records.run_facts import told
from runyard_server.records.run_table import Order, TableQuery

MOST_COLUMNS = 50

Cell = str | float | None


@dataclass(frozen=True)
class TableRequest:
    """Which page of which table.

    Attributes:
        where: a filter, see ``domain/filters``; "" for all.
        sort: a field; with "-" before it, or "desc" behind it, the greatest first. "" for the newest first.
        columns: fields to tell of each run.
        view: "active", "archived" or "all".
    """

    where: str = ""
    sort: str = ""
    columns: Sequence[str] = ()
    experiment: str | None = None
    status: str | None = None
    include_children: bool = False
    after: str | None = None
    limit: int = 100
    view: str = "active"


@dataclass(frozen=True)
class Table:
    """``cells`` has one row for each run, with one value for each column; ``next`` is None on the last page."""

    runs: Sequence[RunRecord]
    cells: Sequence[Sequence[Cell]]
    next: str | None


class RunTableService:
    """Looks runs up."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def page(self, asked: TableRequest) -> Table:
        """One page.

        Raises:
            UserErrorException: a filter, an order or a column that there is not; says what there is.
        """
        columns = _fields(asked.columns)
        wanted = TableQuery(
            where=All((*conjuncts(parse(asked.where)), *_in_status(asked.status))),
            order=read_order(asked.sort),
            experiment=asked.experiment,
            include_children=asked.include_children,
            after=asked.after,
            limit=asked.limit,
            view=asked.view,
        )
        now = self._clock.now()
        with self._database.read() as connection:
            page = run_table.search(connection, wanted, now)
            return Table(page.runs, _cells(connection, page.runs, columns, now), page.next)

    def cells(self, shown: Sequence[RunRecord], columns: Sequence[str]) -> Sequence[Sequence[Cell]]:
        """What runs have in other columns than they were read with. Raises UserErrorException as ``page`` does."""
        with self._database.read() as connection:
            return _cells(connection, shown, _fields(columns), self._clock.now())


def _fields(columns: Sequence[str]) -> list[Field]:
    if len(columns) > MOST_COLUMNS:
        raise UserErrorException(f"A table has at most {MOST_COLUMNS} columns of its own; ask for fewer.")
    return [parse_field(name) for name in columns]


def _cells(
    connection: Connection, shown: Sequence[RunRecord], columns: Sequence[Field], now: float
) -> list[list[Cell]]:
    names = sorted({field.name for field in columns if field.source is Source.METRIC})
    known = metrics.summaries(connection, [run.id for run in shown], names) if names else {}
    return [[cell(run, field, known.get(run.id, {}), now) for field in columns] for run in shown]


def _in_status(status: str | None) -> tuple[Comparison, ...]:
    if status is None:
        return ()
    return (Comparison(parse_field("status"), "=", status),)


def read_order(text: str) -> Order | None:
    """``-metrics.loss``, ``metrics.loss desc`` or ``metrics.loss``; None for "".

    Raises:
        FilterError: there is no such field.
    """
    said = text.strip()
    if not said:
        return None
    descends = said.startswith("-")
    said = said.removeprefix("-")
    words = said.rsplit(None, 1)
    if len(words) == 2 and words[1].lower() in ("asc", "desc"):
        said, descends = words[0], words[1].lower() == "desc"
    return Order(parse_field(said), ascends=not descends)


def cell(run: RunRecord, field: Field, known: Mapping[str, MetricSummary], now: float) -> Cell:
    """What a run has there; None where it has nothing."""
    match field.source:
        case Source.METRIC:
            found = known.get(field.name)
            value = getattr(found.summary, field.part) if found else None
            return None if value is None else float(value)
        case Source.TAG:
            return run.tags.get(field.name)
        case Source.PROPERTY:
            return run.properties.get(field.name)
        case Source.ARGUMENT:
            return arguments(run).get(field.name)
    return _column(run, field.name, now)


def arguments(run: RunRecord) -> dict[str, str]:
    """The arguments of the run's script by name, and the parameters that MLflow's clients logged."""
    return of_run(told(run), run.properties)


def _column(run: RunRecord, name: str, now: float) -> Cell:
    match name:
        case "age":
            return now - run.created_at
        case "duration":
            return None if run.started_at is None else (run.ended_at or now) - run.started_at
        case "status":
            return run.status.value
        case "priority":
            return float(run.spec.priority) if run.spec else 0.0
    attribute = {
        "name": "display_name",
        "by": "submitted_by",
        "parent": "parent_id",
        "environment": "environment_key",
        "submitted": "created_at",
        "started": "started_at",
        "ended": "ended_at",
    }.get(name, name)
    value: Cell = getattr(run, attribute)
    return value
