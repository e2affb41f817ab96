"""The search that MLflow's clients ask for: exact however long values are, and answered by indexes."""

import json
from typing import Any

import pytest
from sqlalchemy import event, insert

from runyard.protocol.runs import RunRecord, RunSpec
from runyard.protocol.status import RunStatus
from runyard_server.domain.mlflow_filter import DATASET, METRIC, TAG, Comparison
from runyard_server.records import experiments, runs
from runyard_server.records.engine import Database
from runyard_server.records.run_search import PROPERTY, RunOrder, RunSearch, search, with_property_below
from runyard_server.records.tables import metric_summaries

LR = "mlflow.param.lr"


@pytest.fixture
def experiment(database: Database) -> str:
    with database.write() as connection:
        return experiments.get_or_create(connection, "e", 1.0).id


def add(database: Database, experiment: str, number: int, **known: Any) -> None:
    at = 1000.0 + number
    record = RunRecord(f"run-{number}", number, "e", "azureml.scriptrun", RunStatus.COMPLETED, at, 1, **known)
    with database.write() as connection:
        runs.add(connection, record, experiment)


def found(database: Database, experiment: str, *wanted: Comparison, **more: Any) -> list[str]:
    with database.read() as connection:
        return [one.id for one in search(connection, RunSearch([experiment], wanted, **more))]


def test_comparisons_hold_of_whole_values_and_of_what_mlflow_logged_alone(database: Database, experiment: str) -> None:
    long = "x" * 300
    script = RunSpec("e", "a" * 64, script="train.py", arguments=["--lr", "0.1"])
    add(database, experiment, 1, tags={"kind": "cnn", "note": long + "1"}, properties={LR: "0.1"})
    add(database, experiment, 2, tags={"kind": "CNN", "note": long + "2"}, properties={LR: "0.2"})
    add(database, experiment, 3, tags={"kind": ""}, spec=script)
    add(database, experiment, 4, tags={})

    def of(kind: str, key: str, sign: str, value: Any = None) -> list[str]:
        return found(database, experiment, Comparison(kind, key, sign, value))

    assert of(TAG, "kind", "=", "cnn") == ["run-1"]
    assert of(TAG, "kind", "!=", "cnn") == ["run-3", "run-2"]
    assert of(TAG, "kind", "IN", ("cnn", "", "other")) == ["run-3", "run-1"]
    assert of(TAG, "kind", "NOT IN", ("cnn",)) == ["run-3", "run-2"]
    assert of(TAG, "kind", "ILIKE", "c%") == ["run-2", "run-1"]
    assert of(TAG, "kind", "IS NULL") == ["run-4"]
    assert of(TAG, "kind", "IS NOT NULL") == ["run-3", "run-2", "run-1"]
    assert of(TAG, "note", "=", long + "2") == ["run-2"]
    assert of(TAG, "note", "=", long) == []
    assert of(TAG, "note", "!=", long + "2") == ["run-1"]
    assert of(TAG, "note", "LIKE", "%1") == ["run-1"]
    assert of(PROPERTY, LR, "=", "0.1") == ["run-1"]
    assert of(PROPERTY, LR, "IS NOT NULL") == ["run-2", "run-1"]
    assert of(PROPERTY, LR, "IS NULL") == ["run-4", "run-3"]
    assert found(database, experiment, Comparison(TAG, "kind", "=", "cnn"), Comparison(PROPERTY, LR, "=", "0.2")) == []


def read(name: str, digest: str, context: str = "") -> dict[str, str]:
    """The property of a run that read a data set."""
    tags = [{"key": "mlflow.data.context", "value": context}] if context else []
    return {f"mlflow.dataset.{digest}.{name}": json.dumps({"dataset": {"name": name, "digest": digest}, "tags": tags})}


def test_runs_are_found_by_the_data_sets_that_they_read(database: Database, experiment: str) -> None:
    long = "x" * 400
    add(database, experiment, 1, properties=read("stones", "a1", "training"))
    add(database, experiment, 2, properties={**read("Stones", "b2", "eval"), **read(long, "c3")})
    add(database, experiment, 3, properties={"mlflow.dataset.d4.broken": "{", "mlflow.dataset.e5.odd": "[1]"})
    add(database, experiment, 4, properties={"name": "stones"})

    def of(key: str, sign: str, value: Any) -> list[str]:
        return found(database, experiment, Comparison(DATASET, key, sign, value))

    assert of("name", "=", "stones") == ["run-1"]
    assert of("name", "!=", "stones") == ["run-2"]
    assert of("name", "=", long) == ["run-2"]
    assert of("name", "LIKE", "St%") == ["run-2"]
    assert of("name", "ILIKE", "st%") == ["run-2", "run-1"]
    assert of("name", "IN", ("stones", "Stones", "other")) == ["run-2", "run-1"]
    assert of("name", "NOT IN", ("stones",)) == ["run-2"]
    assert of("digest", "=", "a1") == ["run-1"]
    assert of("digest", "=", "stones") == []
    assert of("context", "LIKE", "%a%") == ["run-2", "run-1"]
    assert of("context", "!=", "eval") == ["run-1"]
    both = (Comparison(DATASET, "name", "=", "Stones"), Comparison(DATASET, "digest", "=", "c3"))
    assert found(database, experiment, *both) == ["run-2"]  # of whichever of its data sets, as MLflow has it


def test_few_runs_are_looked_up_and_no_other_run_is_read(database: Database, experiment: str) -> None:
    for number in range(20):
        add(
            database,
            experiment,
            number,
            tags={"kind": "rare" if number == 7 else "usual"},
            properties={LR: str(number), **read(f"set-{number % 10}", "d")},
        )
    with database.write() as connection:
        for number in range(20):
            row = {"run_id": f"run-{number}", "name": "loss", "type": "azureml.v1.scalar", "count": 1, "last": number}
            connection.execute(insert(metric_summaries).values(**row))
    for one, expected in (
        (Comparison(TAG, "kind", "=", "rare"), ["run-7"]),
        (Comparison(PROPERTY, LR, "=", "7"), ["run-7"]),
        (Comparison(METRIC, "loss", ">=", 18.0), ["run-19", "run-18"]),
        (Comparison(DATASET, "name", "=", "set-7"), ["run-17", "run-7"]),
    ):
        assert found(database, experiment, one) == expected
        if database.is_sqlite:
            plan = " ".join(plan_of(database, experiment, one))
            assert "SEARCH runs USING INDEX sqlite_autoindex_runs_1 (id=?)" in plan and "SCAN runs" not in plan, plan


def plan_of(database: Database, experiment: str, one: Comparison) -> list[str]:
    """How SQLite reads the ids of a page."""
    asked: list[tuple[str, Any]] = []
    with database.read() as connection:
        event.listen(connection, "before_cursor_execute", lambda *said: asked.append((said[2], said[3])))
        search(connection, RunSearch([experiment], [one]))
        statement, parameters = next(said for said in asked if said[0].startswith("SELECT runs.id \nFROM runs"))
        return [row[3] for row in connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, parameters)]


def test_a_search_of_a_family_finds_the_run_and_all_below_it(database: Database, experiment: str) -> None:
    add(database, experiment, 1)
    add(database, experiment, 2, parent_id="run-1")
    add(database, experiment, 3, parent_id="run-2")
    add(database, experiment, 4)
    order = [RunOrder("column", "created_at", ascends=True)]
    assert found(database, experiment, family="run-1", orders=order) == ["run-1", "run-2", "run-3"]
    assert found(database, experiment, family="run-4") == ["run-4"]
    assert found(database, experiment, family="nobody") == []


def test_the_newest_runs_with_a_property_that_begins_like_that_are_found(database: Database, experiment: str) -> None:
    for number in range(4):
        add(database, experiment, number, properties={"a.b%": "x"} if number % 2 else {"a.bc": "x"})
    with database.read() as connection:
        assert [one.id for one in with_property_below(connection, [experiment], "a.b%", 10)] == ["run-3", "run-1"]
        assert [one.id for one in with_property_below(connection, [experiment], "a.", 3)] == ["run-3", "run-2", "run-1"]
        assert not with_property_below(connection, ["elsewhere"], "a.", 3)
