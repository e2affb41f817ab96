"""What a long history costs: submitting, listing, sorting and filtering with 1,000, 10,000 and 100,000 finished runs."""

import sqlite3
from typing import TYPE_CHECKING

from benchmarks.copied_runs import EXPERIMENT, copy_run
from benchmarks.disk_per_run import source_folder
from benchmarks.measurement import RUNYARD, Absent, Bench, Figure, Measure, Outcome, Target, figures, measured
from benchmarks.mlflow_server import AS_STARTED, mlflow_server
from benchmarks.own_workspace import own_workspace, this_python
from benchmarks.peers import PROGRAMS, PeerUnavailable
from benchmarks.programs.stopwatch import call_times

if TYPE_CHECKING:
    from runyard import Experiment, ScriptRunConfig, Workspace

TITLE = "One experiment with 1,000, 10,000 and 100,000 finished runs"
METHOD = (
    "One finished run with a metric is copied in the database, into one experiment, until there are that many. Then: a "
    "submission to a target whose node is taken, the newest 100 runs of all, and the 100 best runs of all by the least "
    "value of a metric, each as the client gets it; and of the experiment's table, 100 rows each: its *first page*, *sort* "
    "by a metric, *filter* (a metric below a thousandth, which few have, and the status) and *free text* that no run has, so "
    "that each is looked through. *Growth* is the greatest of the ratios of the first three between the longest and the "
    "shortest history. The floor is SQLite's answers alone: 100 rows of 1 kB by an indexed number, or one text looked for in "
    "all. MLflow: `search_runs`, its runs copied in its database as ours are; what sorting takes grows with the square of "
    "their number, so 100,000 are not sorted. trackio, copied too: the names of its runs, and SQL by way of its `query "
    "project`. Aim: `query_runs` and `query_metrics`, of as many runs as it makes in a reasonable time; who wants them sorted "
    "reads all. W&B's offline runs are files, which only its server lists."
)
MEASURES = (
    Measure("submit", "ms"),
    Measure("list", "ms"),
    Measure("best 100", "ms", target=Target(bound=100)),
    Measure("first page", "ms"),
    Measure("sort", "ms"),
    Measure("filter", "ms", target=Target(bound=300)),
    Measure("free text", "ms", target=Target(bound=300)),
    Measure("growth", "×", target=Target(bound=3)),
)


def ours(bench: Bench) -> list[Outcome]:
    from runyard import AmlCompute, ComputeTarget, Experiment, ScriptRunConfig

    sizes = _sizes(bench)
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
        found: dict[int, dict[str, list[float]]] = {}
        for before, count in zip((0, *sizes), sizes, strict=False):
            copy_run(workspace, seed.id, count - before, first=before)
            found[count] = _measured(workspace, experiment, config)
        few, _, many = (found[count] for count in sizes)
        growth = [max(_median(many[name]) / _median(few[name]) for name in ("submit", "list", "best 100"))]
        for run in experiment.get_runs(status="Queued"):
            run.cancel()
        release.touch()
        held.wait_for_completion(show_output=False)
    fewer = [outcome for count in sizes[1::-1] for outcome in figures(f"{RUNYARD}, {count:,} runs", found[count])]
    return [*figures(RUNYARD, {**many, "growth": growth}), *fewer]


def _sizes(bench: Bench) -> tuple[int, int, int]:
    return bench.sized(1000, 200), bench.sized(10_000, 400), bench.sized(100_000, 1000)


def _measured(workspace: "Workspace", experiment: "Experiment", config: "ScriptRunConfig") -> dict[str, list[float]]:
    best = {"metric": "loss", "metric_value": "min", "ascending": "true", "limit": 100}
    return {
        "submit": call_times(lambda: experiment.submit(config), 30),
        "list": call_times(lambda: workspace.transport.call("GET", "/runs", query={"limit": 100})),
        "best 100": call_times(lambda: workspace.transport.call("GET", "/runs", query=best)),
        "first page": call_times(lambda: _table(workspace)),
        "sort": call_times(lambda: _table(workspace, sort="metrics.loss")),
        "filter": call_times(lambda: _table(workspace, filter="metrics.loss < 0.001 and status = Completed")),
        "free text": call_times(lambda: _table(workspace, filter="nowhere")),
    }


def _table(workspace: "Workspace", **asked: str) -> None:
    said = {"experiment": EXPERIMENT, "column": "metrics.loss", **asked}
    workspace.transport.call("GET", "/run-table", query=said)


def _median(values: list[float]) -> float:
    return Figure("", "", tuple(values)).median


def floor(bench: Bench) -> list[Outcome]:
    connection = sqlite3.connect(bench.folder("floor") / "floor.db")
    connection.execute("CREATE TABLE runs (id INTEGER PRIMARY KEY, loss REAL, spec TEXT)")
    connection.execute("CREATE INDEX by_loss ON runs (loss)")
    count = bench.sized(100_000, 1000)
    rows = ((number, (number * 7919 % count) / count, "x" * 1000) for number in range(count))
    connection.executemany("INSERT INTO runs VALUES (?, ?, ?)", rows)
    connection.commit()

    def times(rest: str) -> list[float]:
        return call_times(lambda: connection.execute(f"SELECT * FROM runs {rest} LIMIT 100").fetchall())

    found = {
        "list": times("ORDER BY id DESC"),
        "best 100": times("ORDER BY loss"),
        "filter": times("WHERE loss < 0.001 ORDER BY id DESC"),
        "free text": times("WHERE spec LIKE '%nowhere%'"),
    }
    connection.close()
    return figures("SQLite", {**found, "first page": found["list"], "sort": found["best 100"]})


def peers(bench: Bench) -> list[Outcome]:
    found: list[Outcome] = []
    sizes = _sizes(bench)
    try:
        with mlflow_server(bench) as server:
            database, note = server.folder / "mlflow.db", AS_STARTED
            for count in sizes:
                subject = f"MLflow server, {count:,} runs,"
                found += measured(bench, subject, "mlflow", "table_mlflow.py", server.url, database, count, note=note)
                note = ""  # once is enough
    except PeerUnavailable as unavailable:
        found.append(Absent("MLflow server", str(unavailable)))
    for count in sizes:
        found += measured(bench, f"trackio, {count:,} runs,", "trackio", "table_trackio.py", count, alone=True)
    few = bench.sized(1000, 20)
    return found + measured(bench, f"Aim, {few:,} runs,", "aim", "table_aim.py", few, alone=True)
