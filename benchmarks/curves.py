"""What a long curve costs: what a point takes on the disk, and how soon a picture of a million has its points."""

import json
import math
import random
import sqlite3
from typing import TYPE_CHECKING

from benchmarks.copied_runs import database_of
from benchmarks.measurement import RUNYARD, Absent, Bench, Measure, Outcome, Target, figures, measured
from benchmarks.mlflow_server import AS_STARTED, mlflow_server
from benchmarks.own_workspace import own_workspace
from benchmarks.peers import PeerUnavailable
from benchmarks.programs.stopwatch import call_times

if TYPE_CHECKING:
    from runyard import Workspace

TITLE = "A curve of 1,000,000 points"
METHOD = (
    "A noisy loss, each value random in every bit, is logged a million times in one run. Once the run has ended: how many "
    "bytes the database has grown by, for each point; how long a client waits for what a picture of 1,000 pixels needs, "
    "of the whole curve and of its hundredth part. Then the same metric of 100 runs with 10,000 points each, at 240 pixels. "
    "The floor reads the same points as plain rows from SQLite. "
    "Peers have fewer points in one run, as many as they take in within a reasonable time. MLflow: what its own pages ask "
    "for, and 100 runs as long as ours, copied in its database. Aim: `sample` of each metric that `query_metrics` gives; "
    "trackio: the logs that its pages ask its storage for; both with shorter runs of the hundred. On the disk: what their "
    "folders grow by, without what a run has whatever its length. W&B offline has files, and its pictures elsewhere."
)
MEASURES = (
    Measure("on the disk", "B per point", target=Target(bound=10)),
    Measure("whole", "ms"),
    Measure("a part", "ms"),
    Measure("100 runs", "ms", target=Target(bound=2000)),
)
_PIXELS = 1000


def ours(bench: Bench) -> list[Outcome]:
    from runyard import Experiment

    count, runs = bench.sized(1_000_000, 20_000), bench.sized(100, 3)
    with own_workspace(bench) as workspace:
        experiment = Experiment(workspace, "curves")
        before = stored_bytes(workspace)
        long = _logged(experiment.start_logging(), count)
        size = (stored_bytes(workspace) - before) / count
        many = [_logged(experiment.start_logging(), count // 100) for _ in range(runs)]
        part = {"from": count // 2, "to": count // 2 + count // 100}
        found = {
            "on the disk": [size],
            "whole": _times(workspace, run=long, width=_PIXELS),
            "a part": _times(workspace, run=long, width=_PIXELS, **part),
            "100 runs": _times(workspace, run=many, width=240),
        }
    return figures(RUNYARD, found)


def _logged(run: object, count: int) -> str:
    from runyard import Run

    assert isinstance(run, Run)
    noise = random.Random(1)
    for step in range(count):
        run.log("loss", math.exp(-step / count) + noise.random() / 10, step=step)
    run.complete()
    return str(run.id)


def stored_bytes(workspace: "Workspace") -> int:
    """Bytes of the pages in use; what is written but not yet in its place is put there first."""
    connection = sqlite3.connect(database_of(workspace), timeout=60)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    connection.close()
    return int(pages * size)


def _times(workspace: "Workspace", **query: object) -> list[float]:
    return call_times(lambda: workspace.transport.call("GET", "/metrics/curves", query={"name": "loss", **query}))


def floor(bench: Bench) -> list[Outcome]:
    count = bench.sized(1_000_000, 20_000)
    path = bench.folder("floor") / "floor.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE points (step INTEGER PRIMARY KEY, at REAL, value REAL)")
    noise = random.Random(1)
    rows = ((step, 1.79e9 + step * 1e-5, math.exp(-step / count) + noise.random() / 10) for step in range(count))
    connection.executemany("INSERT INTO points VALUES (?, ?, ?)", rows)
    connection.commit()

    times = call_times(lambda: json.dumps(connection.execute("SELECT step, value FROM points").fetchall()), 3)
    connection.close()
    return figures("SQLite, all rows", {"on the disk": [path.stat().st_size / count], "whole": times})


def peers(bench: Bench) -> list[Outcome]:
    points, runs, each = bench.sized(20_000, 2_000), bench.sized(100, 3), bench.sized(10_000, 200)
    found: list[Outcome] = []
    for name, peer, program, each_here in (
        ("Aim", "aim", "curve_aim.py", each // 20),  # it takes in a few thousand points a second
        ("trackio", "trackio", "curve_trackio.py", each // 5),
        ("W&B offline", "wandb", "curve_wandb.py", 0),
    ):
        subject = f"{name}, {points:,} points" + (f", {runs} runs of {each_here:,}," if each_here else ",")
        found += measured(bench, subject, peer, program, points, _PIXELS, runs, each_here, alone=True)
    try:
        with mlflow_server(bench) as server:
            subject, database = f"MLflow server, {points:,} points,", server.folder / "mlflow.db"
            asked = (server.url, database, points, _PIXELS, runs, each)
            return found + measured(bench, subject, "mlflow", "curve_mlflow.py", *asked, note=AS_STARTED)
    except PeerUnavailable as unavailable:
        return [*found, Absent("MLflow server", str(unavailable))]
