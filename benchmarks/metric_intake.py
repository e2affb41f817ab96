"""Points a second that the server takes in from one client and has stored."""

import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measurement import RUNYARD, Absent, Bench, Measure, Outcome, Target, figures, measured
from benchmarks.mlflow_server import AS_STARTED, mlflow_server
from benchmarks.own_workspace import own_postgres, own_workspace
from benchmarks.peers import PeerUnavailable
from benchmarks.programs.stopwatch import seconds

if TYPE_CHECKING:
    from runyard.shipping import Shipper
    from runyard.spool import Spool

TITLE = "The server takes metrics in"
METHOD = (
    "Points of one metric of one run from one client over HTTP on loopback, until the last one is answered as stored. "
    "Ours sends them as a job does, in pieces of its spool. The floor inserts like points straight into SQLite, "
    "a transaction for every 1,000."
)
MEASURES = (Measure("points", "per s", more_is_better=True, target=Target(bound=100_000)),)

_BATCH = 1_000
POSTGRES = "RUNYARD_TEST_POSTGRES"


def ours(bench: Bench) -> list[Outcome]:
    outcomes = _taken_in(bench, "SQLite", "")
    postgres = os.environ.get(POSTGRES)
    if not postgres:
        return [*outcomes, Absent(f"{RUNYARD}, PostgreSQL", f"not measured: {POSTGRES} names no server")]
    with own_postgres(postgres) as database:
        return [*outcomes, *_taken_in(bench, "PostgreSQL", database)]


def _taken_in(bench: Bench, kind: str, database: str) -> list[Outcome]:
    from runyard import Experiment
    from runyard.shipping import Shipper
    from runyard.spool import Spool

    points = bench.sized(500_000, 5_000)
    with own_workspace(bench, database) as workspace:
        run = Experiment(workspace, "intake").start_logging()
        shipper = Shipper(workspace.transport, run.id)
        rates = []
        for i in range(bench.sized(5, 2)):
            spool = Spool(str(bench.folder("spool")), f"intake-{i}")
            for step in range(points):
                spool.scalar("loss", 1.0 / (step + 1))
            spool.close()
            rates.append(points / seconds(_ship, shipper, spool))
        run.complete()
    return figures(f"{RUNYARD}, {kind}", {"points": rates})


def _ship(shipper: "Shipper", spool: "Spool") -> None:
    while not (passed := shipper.ship_metrics(spool.writer, spool.path)).complete:
        if not passed.sent_bytes:
            raise RuntimeError(f"the server took nothing: {passed.trouble}")


def floor(bench: Bench) -> list[Outcome]:
    folder, points = bench.folder("floor"), bench.sized(200_000, 5_000)
    rates = [points / seconds(_insert, folder / f"{i}.db", points) for i in range(bench.sized(5, 2))]
    return figures("SQLite, 1,000 points a transaction", {"points": rates})


def _insert(path: Path, points: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE points (run TEXT, name TEXT, step INTEGER, value REAL, at REAL)")
    for first in range(0, points, _BATCH):
        batch = [("run", "loss", step, 1.0 / (step + 1), 1.79e9 + step) for step in range(first, first + _BATCH)]
        with connection:
            connection.executemany("INSERT INTO points VALUES (?, ?, ?, ?, ?)", batch)
    connection.close()


def peers(bench: Bench) -> list[Outcome]:
    outcomes: list[Outcome] = []
    sizes = {"1,000 a request": (_BATCH, bench.sized(10_000, 2_000)), "one a request": (1, bench.sized(200, 20))}
    try:
        with mlflow_server(bench) as server:
            for way, (batch, points) in sizes.items():
                arguments = (server.url, batch, points, bench.sized(3, 1))
                subject = f"MLflow server, {way},"
                outcomes += measured(bench, subject, "mlflow", "intake_mlflow.py", *arguments, note=AS_STARTED)
    except PeerUnavailable as unavailable:
        outcomes.append(Absent("MLflow server", str(unavailable)))
    return outcomes
