"""The table of runs on both databases: what a filter holds for, every order, and pages that stay where they are."""

import random
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete, event, insert

from runyard.errors import UserErrorException
from runyard.protocol.runs import RunRecord, RunSpec
from runyard.protocol.status import RunStatus
from runyard_server.domain.filters.parser import parse, parse_field
from runyard_server.records import experiments as experiment_records
from runyard_server.records import run_facts, run_table
from runyard_server.records import runs as records
from runyard_server.records.engine import Database
from runyard_server.records.run_table import Order, TableQuery
from runyard_server.records.tables import metric_summaries
from runyard_server.records.tables import runs as run_rows

NOW = 100_000.0
NAN, INF = float("nan"), float("inf")


def run(number: int, arguments: list[str] | None = None, **known: Any) -> RunRecord:
    experiment = known.pop("experiment", "e")
    spec = RunSpec(experiment, "a" * 64, script="train.py", arguments=arguments or [])
    fields = {"status": RunStatus.COMPLETED, "target": "local", "spec": spec, **known}
    created_at = fields.pop("created_at", 1000.0 + number)
    return RunRecord(
        f"run-{number}", number, experiment, "azureml.scriptrun", created_at=created_at, version=1, **fields
    )


def store(database: Database, *stored: RunRecord, **metrics: dict[int, float]) -> None:
    with database.write() as connection:
        for record in stored:
            home = experiment_records.get_or_create(connection, record.experiment, 1.0)
            records.add(connection, record, home.id)
            records.change(connection, record.id, ended_at=record.ended_at)
        for name, numbers in metrics.items():
            for number, value in numbers.items():
                row = {"run_id": f"run-{number}", "name": name, "type": "azureml.v1.scalar", "count": 3}
                connection.execute(insert(metric_summaries).values(**row, last=value, min=value, max=value))


def found(database: Database, where: str = "", sort: str = "", **more: Any) -> list[int]:
    order = Order(parse_field(sort.lstrip("-")), not sort.startswith("-")) if sort else None
    with database.read() as connection:
        page = run_table.search(connection, TableQuery(parse(where), order, **more), NOW)
    return [record.number for record in page.runs]


@pytest.fixture
def held(database: Database) -> Database:
    store(
        database,
        run(1, ["--lr", "0.1", "--model=resnet"], tags={"team": "a", "note": "50%_done"}, display_name="First run"),
        run(2, ["--lr", "0.01"], tags={"team": "b"}, status=RunStatus.FAILED, started_at=2000.0, ended_at=2100.0),
        run(3, ["--lr", "big"], tags={"team": "A"}, properties={"git": "abc", "none": None}, target="gpu"),
        run(4, status=RunStatus.RUNNING, experiment="other", started_at=NOW - 50),
        run(5, parent_id="run-1", tags={"team": "a"}),
        loss={1: 0.5, 2: NAN, 3: INF, 4: -INF},
        acc={1: 0.9, 5: 0.8},
    )
    return database


FILTERS = [
    ("", [4, 3, 2, 1]),
    ("status = Completed", [3, 1]),
    ("status != Completed", [4, 2]),
    ("status = unfinished", [4]),
    ("status in (Failed, Running)", [4, 2]),
    ("tags.team = a", [1]),
    ("tags.team != a", [3, 2]),
    ("not tags.team = a", [4, 3, 2]),
    ("tags.team in (a, b)", [2, 1]),
    ("tags.team is null", [4]),
    ("tags.note contains '%_'", [1]),
    ("tags.note like '50\\%'", []),
    ("tags.team ~ A", [3, 1]),
    ("properties.git = abc", [3]),
    ("properties.none is null", [4, 3, 2, 1]),
    ("arguments.lr < 0.05", [2]),
    ("arguments.lr = 0.10", [1]),
    ("arguments.lr = '0.10'", []),
    ("params.lr in (0.1, big)", [3, 1]),
    ("args.model = resnet", [1]),
    ("metrics.loss < 1", [4, 1]),
    ("metrics.loss > 1", [3]),
    ("metrics.loss = inf", [3]),
    ("metrics.loss != 0.5", [4, 3]),
    ("isnan(metrics.loss)", [2]),
    ("metrics.loss is not null", [4, 3, 2, 1]),
    ("max(metrics.acc) >= 0.9", [1]),
    ("resnet", [1]),
    ("FIRST run", [1]),
    ("'50%'", [1]),
    ("name = 'First run'", [1]),
    ("name is null", [4, 3, 2]),
    ("experiment = other", [4]),
    ("experiment != other", [3, 2, 1]),
    ("experiment = missing", []),
    ("experiment like 'oth%'", [4]),
    ("target = gpu or tags.team = b", [3, 2]),
    ("number >= 2 and number < 4", [3, 2]),
    ("parent = 'run-1'", [5]),
    ("duration > 60", [2]),
    ("duration < 1m", [4]),
    ("started is null", [3, 1]),
    ("age > 98998s", [1]),
    ("submitted > 1970-01-01T00:16:42Z", [4, 3]),
    ("tags.team = a metrics.loss < 1 or number = 2", [2, 1]),
    ("attempt = 1 and priority = 0 and id ~ run- and type = azureml.scriptrun and snapshot is null", [4, 3, 2, 1]),
]


@pytest.mark.parametrize("few", [run_facts.FEW, 0], ids=["few", "many"])
def test_a_filter_finds_the_runs_that_it_holds_for(held: Database, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    """By looking up the few that fulfil one condition, and by reading the table in its order."""
    monkeypatch.setattr(run_facts, "FEW", few)
    assert [(where, found(held, where)) for where, _ in FILTERS] == FILTERS
    for sort in ("-arguments.lr",):
        assert [(where, sorted(found(held, where, sort))[::-1]) for where, _ in FILTERS] == FILTERS


ORDERS = [
    ("submitted", [1, 2, 3, 4]),
    ("-age", [1, 2, 3, 4]),
    ("metrics.loss", [4, 1, 3, 2]),
    ("-metrics.loss", [3, 1, 4, 2]),
    ("-max(metrics.acc)", [1, 4, 3, 2]),
    ("arguments.lr", [2, 1, 3, 4]),
    ("-arguments.lr", [1, 2, 3, 4]),
    ("tags.note", [1, 4, 3, 2]),
    ("name", [1, 4, 3, 2]),
    ("-status", [4, 2, 3, 1]),
    ("status", [1, 3, 2, 4]),
    ("duration", [4, 2, 3, 1]),
    ("-ended", [2, 4, 3, 1]),
    ("experiment", [1, 2, 3, 4]),
    ("-id", [4, 3, 2, 1]),
    ("-number", [4, 3, 2, 1]),
    ("-target", [4, 2, 1, 3]),
]


def test_a_table_is_sorted_by_anything_and_what_has_no_value_comes_last(held: Database) -> None:
    assert [(sort, found(held, sort=sort)) for sort, _ in ORDERS] == ORDERS
    one_by_one = [(sort, [number for page in pages(held, sort=sort, limit=1) for number in page]) for sort, _ in ORDERS]
    assert one_by_one == ORDERS


def pages(
    database: Database, where: str = "", sort: str = "", limit: int = 9, meanwhile: Any = None
) -> list[list[int]]:
    order = Order(parse_field(sort.lstrip("-")), not sort.startswith("-")) if sort else None
    wanted = TableQuery(parse(where), order, limit=limit)
    read = []
    while True:
        with database.read() as connection:
            page = run_table.search(connection, wanted, NOW)
        read.append([record.number for record in page.runs])
        if page.next is None:
            return read
        wanted = replace(wanted, after=page.next)
        if meanwhile is not None:
            meanwhile()


def test_pages_hold_each_run_once_while_others_come_and_go(database: Database) -> None:
    chance = random.Random(24)
    stored = [
        run(number, ["--lr", str(chance.choice([0.1, 0.2, "x"]))] if number % 3 else [], tags={"t": str(number % 2)})
        for number in range(40)
    ]
    store(database, *stored, loss={number: chance.choice([1.0, 2.0, NAN, INF]) for number in range(0, 40, 2)})
    fresh = iter(range(100, 10_000))

    def meanwhile() -> None:
        store(database, run(next(fresh), ["--lr", "0.1"], tags={"t": "1"}, created_at=5000.0), loss={})
        with database.write() as connection:
            connection.execute(delete(run_rows).where(run_rows.c.id == "run-7"))

    for where, sort in [("", "-metrics.loss"), ("tags.t = '1'", ""), ("tags.t = 1", "arguments.lr"), ("", "-status")]:
        seen = [number for page in pages(database, where, sort, meanwhile=meanwhile) for number in page]
        assert len(seen) == len(set(seen))
        kept = {record.number for record in stored if record.number != 7 and (not where or record.number % 2)}
        assert kept <= set(seen)


def test_what_changes_is_found_as_it_is_now(held: Database) -> None:
    with held.write() as connection:
        records.change(connection, "run-2", tags={"team": "c", "cut": "x" * 1000}, display_name="Renamed")
    assert found(held, "tags.team = b") == []
    assert found(held, "tags.team = c") == found(held, "renamed") == found(held, "tags.cut ~ xxx") == [2]


def test_the_runs_of_an_experiment_and_children_are_listed_when_asked_for(held: Database) -> None:
    assert found(held, experiment="other") == [4]
    assert found(held, "tags.team = a", include_children=True) == [5, 1]
    assert found(held, sort="-metrics.acc", include_children=True) == [1, 5, 4, 3, 2]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # how PostgreSQL reads depends on what it holds
def test_the_runs_of_one_experiment_are_read_in_their_order_from_an_index(held: Database) -> None:
    for where, sort, index in (
        ("", "", "ix_runs_experiment_id_created_at_id (experiment_id=?)"),
        ("status != Failed", "", "ix_runs_experiment_id_created_at_id (experiment_id=?)"),
        ("", "metrics.loss", "ix_metric_summaries_name_last (name=? AND last>?)"),
        ("", "-arguments.lr", "ix_run_facts_source_name_number_run_id (source=? AND name=? AND number>?)"),
    ):
        plan = plan_of(held, where, sort)
        assert index in plan and "SCAN" not in plan and "TEMP B-TREE FOR ORDER BY" not in plan, (where, sort, plan)


def plan_of(database: Database, where: str, sort: str) -> str:
    """How SQLite reads the first page of one experiment's table."""
    asked: list[tuple[str, Any]] = []
    order = Order(parse_field(sort.lstrip("-")), not sort.startswith("-")) if sort else None
    with database.read() as connection:
        event.listen(connection, "before_cursor_execute", lambda *said: asked.append((said[2], said[3])))
        run_table.search(connection, TableQuery(parse(where), order, experiment="e", limit=1), NOW)
        statement, parameters = next(said for said in asked if "ORDER BY" in said[0])
        plan = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, parameters)
        return "; ".join(row[3] for row in plan)


def test_a_place_that_is_none_is_refused(held: Database) -> None:
    for after in ("x", "?", "W10", "WzAsIDEuMF0", "WzAsIDEuMCwgImEiLCAiYiJd", "W251bGwsIDEuMCwgMSwgImIiXQ"):
        with pytest.raises(UserErrorException, match="no place"):
            found(held, after=after)
