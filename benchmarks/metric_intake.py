"""Points a second that the server takes in from one client and has stored, and what they take of memory and disk."""

import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.copied_runs import database_of
from benchmarks.curves import stored_bytes
from benchmarks.disk_per_run import taken_kib
from benchmarks.measurement import RUNYARD, Absent, Bench, Measure, Outcome, Target, figures, measured
from benchmarks.mlflow_server import AS_STARTED, Server, mlflow_server
from benchmarks.own_workspace import own_postgres, own_workspace
from benchmarks.peers import PeerUnavailable
from benchmarks.process_tree import pss_mib, settle
from benchmarks.programs.stopwatch import seconds

if TYPE_CHECKING:
    from runyard import Workspace
    from runyard.shipping import Shipper
    from runyard.spool import Spool

TITLE = "The server takes metrics in"
METHOD = (
    "Points of one metric of one run from one client over HTTP on loopback, until the last one is answered as stored. "
    "Ours sends them as a job does, in pieces of its spool. The floor inserts like points straight into SQLite, "
    "a transaction for every 1,000. *Memory*: what the resident memory of the server's processes grew by while points came "
    "in, and *disk*: what its files grew by until the run had ended (after a checkpoint of the database), both for each "
    "million points, and never told as less than 0.1. MLflow's is reckoned from fewer points, as many as it takes in within "
    "a reasonable time."
)
MEASURES = (
    Measure("points", "per s", more_is_better=True, target=Target(bound=100_000)),
    Measure("memory", "MiB per million"),
    Measure("disk", "MiB per million"),
)

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

    points = bench.sized(500_000, 5_000)
    with own_workspace(bench, database) as workspace:
        run = Experiment(workspace, "intake").start_logging()
        shipper = Shipper(workspace.transport, run.id)
        _take(bench, shipper, "warm-up", points)
        before = _held(workspace)
        rates = []
        for i in range(bench.sized(5, 2)):
            rates.append(_take(bench, shipper, f"intake-{i}", points))
        run.complete()
        after = _held(workspace)
    taken = {"points": rates, **_per_million(before, after, len(rates) * points)}
    if database:
        del taken["disk"]  # its files are the database server's
    return figures(f"{RUNYARD}, {kind}", taken)


def _take(bench: Bench, shipper: "Shipper", writer: str, points: int) -> float:
    """Points a second of one spool."""
    from runyard.spool import Spool

    spool = Spool(str(bench.folder("spool")), writer)
    for step in range(points):
        spool.scalar("loss", 1.0 / (step + 1))
    spool.close()
    return points / seconds(_ship, shipper, spool)


def _held(workspace: "Workspace") -> tuple[float, float]:
    """MiB of memory of the server's processes, once they are idle, and of its folder on the disk."""
    from runyard import embedded

    assert workspace.folder is not None
    said = embedded.describe(workspace.folder)
    assert said is not None
    settle(said["pid"])
    if Path(database_of(workspace)).is_file():
        stored_bytes(workspace)  # what was written is in its place then, and in no journal
    return pss_mib(said["pid"]), taken_kib(Path(workspace.folder)) / 1024


def _per_million(before: tuple[float, float], after: tuple[float, float], points: int) -> dict[str, list[float]]:
    grown = [max(0.1, (now - then) / points * 1e6) for then, now in zip(before, after, strict=True)]
    return {"memory": grown[:1], "disk": grown[1:]}


def _kept_by_mlflow(bench: Bench, server: Server, points: int) -> list[Outcome]:
    """What points take of the memory and the disk of a server that is warm."""

    def held() -> tuple[float, float]:
        settle(server.pid)
        return pss_mib(server.pid), taken_kib(server.folder) / 1024

    before = held()
    bench.peers.run("mlflow", "intake_mlflow.py", [server.url, str(_BATCH), str(points), "1"], bench.folder("intake"))
    subject = f"MLflow server, {points:,} points, {bench.peers.version('mlflow')}"
    return figures(subject, _per_million(before, held(), points))


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
            outcomes += _kept_by_mlflow(bench, server, bench.sized(100_000, 2_000))
    except PeerUnavailable as unavailable:
        outcomes.append(Absent("MLflow server", str(unavailable)))
    return outcomes
