"""A thousand submissions to one busy node, and how quickly the server answers with all of them queued."""

import sqlite3
from pathlib import Path

from benchmarks.measurement import RUNYARD, Absent, Bench, Measure, Outcome, Target, figures, measured
from benchmarks.mlflow_server import AS_STARTED, mlflow_server
from benchmarks.own_workspace import own_workspace, this_python
from benchmarks.peers import PROGRAMS, PeerUnavailable
from benchmarks.programs.stopwatch import call_durations, seconds

TITLE = "1,000 submissions queued"
METHOD = (
    "Submissions one after another from one client to a target whose only node is taken, and the median time of asking "
    "one run's status when all of them are queued. The floor writes as many rows into SQLite, a transaction each. MLflow "
    "has no queue: its server only makes the records (`create_run`)."
)
# 1,000 in ten seconds.
MEASURES = (
    Measure("submissions", "per s", more_is_better=True, target=Target(bound=100)),
    Measure("status", "ms"),
)


def ours(bench: Bench) -> list[Outcome]:
    from runyard import AmlCompute, ComputeTarget, Experiment, ScriptRunConfig

    count = bench.sized(1000, 20)
    with own_workspace(bench) as workspace:
        shape = AmlCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", max_nodes=1)
        target = ComputeTarget.create(workspace, "one-node", shape)
        target.wait_for_completion(show_output=False)
        release = bench.folder("release") / "go"
        config = ScriptRunConfig(
            str(PROGRAMS / "wait_for_file"),
            script="wait_for_file.py",
            arguments=[str(release)],
            compute_target=target,
            environment=this_python(),
        )
        experiment = Experiment(workspace, "queue")
        first = experiment.submit(config)
        runs = [first]
        took = seconds(lambda: runs.extend(experiment.submit(config) for _ in range(count)))
        durations = call_durations(lambda i: (runs[count // 2].get_status(), None)[1], 50)
        for run in reversed(runs[1:]):
            run.cancel()
        release.touch()
        first.wait_for_completion(show_output=False)
    return figures(RUNYARD, {"submissions": [count / took], "status": [durations[25] / 1e6]})


def floor(bench: Bench) -> list[Outcome]:
    folder, count = bench.folder("floor"), bench.sized(1000, 20)
    rates = [count / seconds(_insert, folder / f"{i}.db", count) for i in range(bench.sized(5, 2))]
    return figures("SQLite, a transaction each", {"submissions": rates})


def _insert(path: Path, count: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE runs (id TEXT PRIMARY KEY, status TEXT, spec TEXT)")
    for number in range(count):
        with connection:
            connection.execute("INSERT INTO runs VALUES (?, 'Queued', ?)", (str(number), "x" * 1000))
    connection.close()


def peers(bench: Bench) -> list[Outcome]:
    try:
        with mlflow_server(bench) as server:
            count, n = bench.sized(200, 20), bench.sized(3, 1)
            arguments = (server.url, count, n)
            return measured(bench, "MLflow server", "mlflow", "queue_mlflow.py", *arguments, note=AS_STARTED)
    except PeerUnavailable as unavailable:
        return [Absent("MLflow server", str(unavailable))]
