"""What a long history costs: submitting, listing and sorting with a thousand and with a hundred thousand finished runs."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.disk_per_run import source_folder
from benchmarks.measurement import RUNYARD, Absent, Bench, Figure, Measure, Outcome, Target, figures, measured
from benchmarks.mlflow_server import AS_STARTED, mlflow_server
from benchmarks.own_workspace import own_workspace, this_python
from benchmarks.peers import PROGRAMS, PeerUnavailable
from benchmarks.programs.stopwatch import call_durations

if TYPE_CHECKING:
    from runyard import Experiment, ScriptRunConfig, Workspace

TITLE = "A history of 1,000 and of 100,000 finished runs"
METHOD = (
    "One finished run with a metric is copied in the database, in a hundred experiments, until there are that many. "
    "Then: a submission to a target whose node is taken, the newest 100 runs, and the 100 best runs of all by the least "
    "value of a metric, each as the client gets it. *Growth* is the greatest of the three ratios between the two "
    "histories. The floor is SQLite's answer alone: 100 rows of 1 kB by an indexed number. MLflow: `search_runs` by a "
    "metric, with as many runs as it makes in a reasonable time."
)
MEASURES = (
    Measure("submit", "ms"),
    Measure("list", "ms"),
    Measure("best 100", "ms", target=Target(bound=100)),
    Measure("growth", "×", target=Target(bound=3)),
)
_EXPERIMENTS = 100


def ours(bench: Bench) -> list[Outcome]:
    from runyard import AmlCompute, ComputeTarget, Experiment, ScriptRunConfig

    few, many = bench.sized(1000, 200), bench.sized(100_000, 1000)
    with own_workspace(bench) as workspace:
        shape = AmlCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", max_nodes=1)
        ComputeTarget.create(workspace, "one-node", shape)
        release = bench.folder("release") / "go"
        config = ScriptRunConfig(
            str(PROGRAMS / "wait_for_file"),
            script="wait_for_file.py",
            arguments=[str(release)],
            compute_target="one-node",
            environment=this_python(),
        )
        experiment = Experiment(workspace, "history")
        held = experiment.submit(config)
        small_run = ScriptRunConfig(str(source_folder(bench)), script="train.py", environment=this_python())
        seed = Experiment(workspace, "seed").submit(small_run)
        seed.wait_for_completion(show_output=False)
        _copy(workspace, seed.id, few)
        small = _measured(workspace, experiment, config)
        _copy(workspace, seed.id, many - few, first=few)
        large = _measured(workspace, experiment, config)
        growth = [max(_median(large[name]) / _median(small[name]) for name in small)]
        for run in experiment.get_runs(status="Queued"):
            run.cancel()
        release.touch()
        held.wait_for_completion(show_output=False)
    return [*figures(RUNYARD, {**large, "growth": growth}), *figures(f"{RUNYARD}, {few:,} runs", small)]


def _measured(workspace: "Workspace", experiment: "Experiment", config: "ScriptRunConfig") -> dict[str, list[float]]:
    best = {"metric": "loss", "metric_value": "min", "ascending": "true", "limit": 100}
    return {
        "submit": _times(lambda: experiment.submit(config), 30),
        "list": _times(lambda: workspace.transport.call("GET", "/runs", query={"limit": 100}), 15),
        "best 100": _times(lambda: workspace.transport.call("GET", "/runs", query=best), 15),
    }


def _times(act: Callable[[], object], count: int) -> list[float]:
    """Milliseconds of each of ``count`` calls; the first two are not counted."""
    act()
    act()
    return [duration / 1e6 for duration in call_durations(lambda _: (act(), None)[1], count)]


def _median(values: list[float]) -> float:
    return Figure("", "", tuple(values)).median


def _copy(workspace: "Workspace", run_id: str, count: int, first: int = 0) -> None:
    """Copies a finished run with its events, jobs, metric summaries and what it is found by; each has its own numbers."""
    from runyard_server.records.tables import jobs, metric_summaries, run_events, run_facts, run_words, runs
    from runyard_server.settings import Settings

    assert workspace.folder is not None
    folder = Path(workspace.folder)
    path = Settings(home=folder, environments=folder).database_url.partition("///")[2]
    copy_of = {"run_id": "run_id || '-' || i", "id": "id || '-' || i", "number": "i + 10"}
    copy_of["created_at"] = "created_at - 1e6 + i"
    copy_of["experiment_id"] = f"'copied-' || (i % {_EXPERIMENTS})"
    copy_of |= dict.fromkeys(("last", "min", "max"), "abs(random()) / 9.3e18")
    with sqlite3.connect(path, timeout=60) as connection:
        connection.execute("PRAGMA foreign_keys=ON")
        for number in range(_EXPERIMENTS):
            connection.execute(
                "INSERT OR IGNORE INTO experiments SELECT 'copied-' || ?, 'copied-' || ?, created_at, archived_at, tags, "
                "last_number FROM experiments LIMIT 1",
                (number, number),
            )
        copied = (run_events, jobs, metric_summaries, run_facts, run_words)
        for table, key in ((runs, "id"), *((table, "run_id") for table in copied)):
            names = [column.name for column in table.columns if (table.name, column.name) != ("run_events", "id")]
            listed = ", ".join(f'"{name}"' for name in names)
            values = ", ".join(copy_of.get(name, f'"{name}"') for name in names)
            connection.execute(
                f"WITH RECURSIVE n(i) AS (SELECT ? UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?) "
                f"INSERT INTO {table.name} ({listed}) SELECT {values} FROM {table.name}, n WHERE {key} = ?",
                (first, first + count, run_id),
            )
    connection.close()


def floor(bench: Bench) -> list[Outcome]:
    connection = sqlite3.connect(bench.folder("floor") / "floor.db")
    connection.execute("CREATE TABLE runs (id INTEGER PRIMARY KEY, loss REAL, spec TEXT)")
    connection.execute("CREATE INDEX by_loss ON runs (loss)")
    count = bench.sized(100_000, 1000)
    rows = ((number, (number * 7919 % count) / count, "x" * 1000) for number in range(count))
    connection.executemany("INSERT INTO runs VALUES (?, ?, ?)", rows)
    connection.commit()
    times = _times(lambda: connection.execute("SELECT * FROM runs ORDER BY loss LIMIT 100").fetchall(), 15)
    connection.close()
    return figures("SQLite", {"best 100": times})


def peers(bench: Bench) -> list[Outcome]:
    try:
        with mlflow_server(bench) as server:
            runs = bench.sized(500, 20)
            subject = f"MLflow server, {runs:,} runs,"
            return measured(bench, subject, "mlflow", "table_mlflow.py", server.url, runs, note=AS_STARTED)
    except PeerUnavailable as unavailable:
        return [Absent("MLflow server", str(unavailable))]
