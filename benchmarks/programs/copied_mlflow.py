"""Long histories on an MLflow server's SQLite: a finished run, and copies of it in the database."""

import random
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass

from copied_rows import copy_rows
from mlflow import MlflowClient
from mlflow.entities import Metric

_PIECE = 1000  # points that MLflow takes in one request


@dataclass(frozen=True)
class Copies:
    """An experiment's id, and the ids of its runs, which are alike but for the last value of their metric."""

    experiment: str
    runs: list[str]


def copied(client: MlflowClient, database: str, count: int, points: int = 1) -> Copies:
    """Makes a run with a metric of so many points through the server, and copies it until there are ``count``."""
    experiment = client.create_experiment(f"copied-{time.time_ns()}")
    run = client.create_run(experiment, run_name="first").info.run_id
    client.log_param(run, "rate", 0.1)
    now = int(time.time() * 1000)
    for first in range(0, points, _PIECE):
        steps = range(first, min(first + _PIECE, points))
        client.log_batch(run, metrics=[Metric("loss", random.random(), now, step) for step in steps])
    client.set_terminated(run)
    other = {"run_uuid": "run_uuid || '-' || i"}
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        named = {**other, "name": "name || '-' || i", "start_time": "start_time - 1000000 + i"}
        copy_rows(connection, "runs", "run_uuid = ?", run, named, count - 1)
        for table in ("metrics", "params", "tags"):
            copy_rows(connection, table, "run_uuid = ?", run, other, count - 1)
        last = {**other, "value": "abs(random()) / 9.3e18"}
        copy_rows(connection, "latest_metrics", "run_uuid = ?", run, last, count - 1)
    return Copies(experiment, [run, *(f"{run}-{number}" for number in range(count - 1))])
