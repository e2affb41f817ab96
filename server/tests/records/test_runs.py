"""Rows of runs: moves that are void, lists that cost what they show, and what a queue reads."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert

from runyard.errors import IllegalTransitionError
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.runs import RunRecord, RunSpec
from runyard.protocol.status import Reason, RunStatus
from runyard_server.records import experiments as experiment_records
from runyard_server.records import runs as records
from runyard_server.records.engine import Database
from runyard_server.records.runs import Holder, RunFilter, Waiting
from runyard_server.records.tables import metric_summaries


def run(number: int, status: RunStatus = RunStatus.QUEUED, **known: Any) -> RunRecord:
    spec = RunSpec("e", "a" * 64, script="train.py", priority=number % 3, node_count=2, gpus_per_node=-2)
    fields = {"target": "local", "spec": spec, **known}
    return RunRecord(f"run-{number}", number, "e", "azureml.scriptrun", status, 1000.0 + number, 1, **fields)


def store(database: Database, *stored: RunRecord, metric: dict[str, dict[str, float]] | None = None) -> None:
    with database.write() as connection:
        home = experiment_records.get_or_create(connection, "e", 1.0)
        for record in stored:
            records.add(connection, record, home.id)
        for run_id, numbers in (metric or {}).items():
            row = {"run_id": run_id, "name": "loss", "type": "azureml.v1.scalar", "count": 3}
            connection.execute(insert(metric_summaries).values(**row, **numbers))


def listed(database: Database, **wanted: Any) -> list[str]:
    with database.read() as connection:
        return [record.id for record in records.list_matching(connection, RunFilter(**wanted))]


def test_a_move_on_what_is_known_gives_the_run_as_it_is_stored(database: Database) -> None:
    known = run(1)
    store(database, known)
    with database.write() as connection:
        moved = records.move(
            connection, known.id, RunStatus.RUNNING, Reason.NODES_STARTED, 2007.0, known=known, warnings=["w"]
        )
        assert moved == records.get(connection, known.id)
        assert moved is not None
        assert (moved.status, moved.version, moved.started_at, moved.warnings) == (RunStatus.RUNNING, 2, 2007.0, ["w"])
        (_, event) = records.events(connection, known.id)
    assert (event.from_status, event.to_status) == (RunStatus.QUEUED, RunStatus.RUNNING)


def test_a_move_on_what_has_changed_since_is_void(database: Database) -> None:
    known = run(1)
    store(database, known)
    with database.write() as connection:
        records.change(connection, known.id, tags={"a": "b"})
        assert records.move(connection, known.id, RunStatus.RUNNING, Reason.NODES_STARTED, 7.0, known=known) is None
        assert records.get(connection, known.id).status is RunStatus.QUEUED
        assert len(records.events(connection, known.id)) == 1


def test_a_run_lasts_no_less_than_nothing_where_the_clock_was_set_back(database: Database) -> None:
    store(database, run(1))  # made at 1001
    with database.write() as connection:
        running = records.move(connection, "run-1", RunStatus.RUNNING, Reason.NODES_STARTED, 1005.0)
        assert running is not None
        ended = records.move(connection, "run-1", RunStatus.FAILED, Reason.SIGNALED, 405.0)
        assert ended is not None
        assert (ended.created_at, ended.started_at, ended.ended_at) == (1001.0, 1005.0, 1005.0)
        assert [event.at for event in records.events(connection, "run-1")] == [1001.0, 1005.0, 1005.0]


def test_who_comes_now_is_behind_all_that_wait_whatever_the_clock_says(database: Database) -> None:
    store(database, run(1), run(2, RunStatus.STARTING), run(9, RunStatus.FAILED))  # made at 1001, 1002 and 1009
    with database.read() as connection:
        assert records.last_in_line(connection, 1003.0) == 1003.0
        behind = [records.last_in_line(connection, now) for now in (1002.0, 402.0)]
    assert behind[0] == behind[1] > 1002.0
    assert behind[0] - 1002.0 < 1e-6


def test_a_move_that_is_not_allowed_tells_the_runs_story(database: Database) -> None:
    known = run(1)
    store(database, known)
    with (
        database.write() as connection,
        pytest.raises(IllegalTransitionError, match="cannot become Finalizing.*Queued"),
    ):
        records.move(connection, known.id, RunStatus.FINALIZING, Reason.SCRIPT_ENDED, 7.0, known=known)


def test_a_queue_reads_who_waits_and_who_holds_nodes_without_their_specs(database: Database) -> None:
    store(database, run(1), run(2), run(3, RunStatus.RUNNING), run(4, RunStatus.COMPLETED))
    with database.write() as connection:
        records.add_jobs(connection, "run-2", 1, [[0], [1]])
        records.add_jobs(connection, "run-3", 1, [[2], []])
        records.add_jobs(connection, "run-4", 1, [[3]])
        records.add_jobs(connection, "run-4", 2, [[3]])
    with database.read() as connection:
        assert sorted(records.waiting(connection), key=lambda row: row.run_id) == [
            Waiting("run-1", "local", 1, 1001.0, 2, -2),
            Waiting("run-2", "local", 2, 1002.0, 2, -2),
        ]
        assert records.holders(connection, [RunStatus.RUNNING, RunStatus.FINALIZING]) == [
            Holder("run-3", "local", [[2], []])
        ]
        assert records.holders_among(connection, ["run-1", "run-2"]) == [Holder("run-2", "local", [[0], [1]])]
        found = records.jobs_of_many(connection, [run(1), run(2), run(4)])
    assert {run_id: [(job.attempt, job.gpus) for job in jobs] for run_id, jobs in found.items()} == {
        "run-1": [],
        "run-2": [(1, [0]), (1, [1])],
        "run-4": [(1, [3])],
    }


def test_runs_are_sorted_by_a_number_of_a_metric_and_those_without_one_are_left_out(database: Database) -> None:
    nan, numbers = float("nan"), {"last": 0.0, "min": 0.0, "max": 0.0}
    metric = {
        "run-1": {"last": 2.0, "min": 1.0, "max": 9.0},
        "run-2": {"last": 3.0, "min": 0.5, "max": 3.0},
        "run-3": {"last": 1.0, "min": -1.0, "max": 4.0},
        "run-4": dict.fromkeys(numbers, nan),
        "run-6": {"last": 5.0, "min": 5.0, "max": 5.0},
    }
    stored = [run(number, RunStatus.COMPLETED) for number in range(1, 6)]
    store(database, *stored, run(6, RunStatus.COMPLETED, parent_id="run-1"), metric=metric)
    assert listed(database, metric="loss") == ["run-2", "run-1", "run-3"]
    assert listed(database, metric="loss", metric_value="min", ascending=True) == ["run-3", "run-2", "run-1"]
    assert listed(database, metric="loss", metric_value="max", limit=2) == ["run-1", "run-3"]
    assert listed(database, metric="loss", include_children=True)[0] == "run-6"
    assert listed(database, metric="accuracy") == []


@pytest.mark.parametrize(
    "wanted",
    [
        RunFilter(),
        RunFilter(before="run-3"),
        RunFilter(experiment="e"),
        RunFilter(experiment="e", before="run-3"),
        RunFilter(status="Failed"),
        RunFilter(target="local"),
        RunFilter(parent_id="run-1"),
        RunFilter(metric="loss"),
        RunFilter(metric="loss", metric_value="min", ascending=True),
        RunFilter(metric="loss", metric_value="max"),
        RunFilter(experiment="e", metric="loss"),
    ],
    ids=str,
)
def test_a_list_is_the_end_of_an_index_and_reads_no_more_than_it_shows(
    database: Database, request: pytest.FixtureRequest, wanted: RunFilter
) -> None:
    """SQLite says how it reads; PostgreSQL decides anew by what it has counted."""
    store(database, *(run(number, RunStatus.COMPLETED) for number in range(1, 5)))
    if not database.is_sqlite:
        assert len(listed(database, **vars(wanted))) <= 4
        return
    plan = plan_of(database, lambda connection: records.list_matching(connection, wanted))
    assert not [step for step in plan if step.startswith("SCAN") or step == "USE TEMP B-TREE FOR ORDER BY"], plan


def test_runs_are_found_by_tags_and_properties_however_long_these_are(database: Database) -> None:
    long = "x" * 300
    store(
        database,
        run(1, tags={"kind": "cnn", "note": long + "1"}, properties={"source": "a", "mlflow.param.lr": "0.1"}),
        run(2, tags={"kind": "cnn", "note": long + "2"}, properties={"source": "b"}),
        run(3, tags={"kind": "CNN", "a'\"": ""}, properties={}),
        run(4, tags={"kind": "cnn"}, parent_id="run-1"),
    )
    assert listed(database, tags={"kind": "cnn"}) == ["run-2", "run-1"]
    assert listed(database, tags={"kind": "cnn"}, include_children=True) == ["run-4", "run-2", "run-1"]
    assert listed(database, tags={"kind": None}, experiment="e") == ["run-3", "run-2", "run-1"]
    assert listed(database, tags={"note": long + "2"}) == ["run-2"]
    assert listed(database, tags={"note": long + "3"}) == []
    assert listed(database, tags={"a'\"": ""}) == ["run-3"]
    assert listed(database, tags={"kind": "cnn"}, properties={"source": "a"}) == ["run-1"]
    assert listed(database, properties={"mlflow.param.lr": "0.1"}) == ["run-1"]
    assert listed(database, properties={"mlflow.param.lr": None, "source": None}) == ["run-1"]
    assert listed(database, tags={"kind": "cnn"}, before="run-2") == ["run-1"]


def test_runs_with_a_tag_are_looked_up_by_it_and_no_other_runs_tags_are_read(database: Database) -> None:
    store(database, *(run(number, tags={"kind": "rare" if number == 7 else "usual"}) for number in range(20)))
    assert listed(database, tags={"kind": "rare"}) == ["run-7"]
    if database.is_sqlite:
        wanted = RunFilter(tags={"kind": "rare"})
        plan = " ".join(plan_of(database, lambda connection: records.list_matching(connection, wanted)))
        assert "SEARCH runs USING INDEX sqlite_autoindex_runs_1 (id=?)" in plan and "SCAN runs" not in plan


def test_the_unfinished_are_found_without_reading_those_that_have_ended(database: Database) -> None:
    store(database, run(2), run(1, RunStatus.RUNNING), run(3, RunStatus.COMPLETED))
    with database.read() as connection:
        assert records.unfinished_versions(connection) == [("run-1", 1), ("run-2", 1)]
    if database.is_sqlite:
        for asks in (records.unfinished_versions, records.waiting, records.count_unfinished):
            (step, *_) = plan_of(database, asks)
            assert "ix_runs_status_created_at_id" in step


def plan_of(database: Database, ask: Callable[[Connection], object]) -> list[str]:
    """How SQLite reads what is asked for last."""
    asked: list[tuple[str, Any]] = []
    with database.read() as connection:
        event.listen(connection, "before_cursor_execute", lambda *said: asked.append((said[2], said[3])))
        ask(connection)
        statement, parameters = asked[-1]
        return [row[3] for row in connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, parameters)]


def test_a_record_is_the_same_after_it_was_json() -> None:
    record = replace(run(1), warnings=["a"], tags={"b": "c"})
    assert from_json(RunRecord, to_json(record)) == record
