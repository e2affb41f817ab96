"""Keeps small runs with MLflow on SQLite. Arguments: the folder with their files, their number."""

import os
import sys
import time
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric
from stopwatch import report

source, count = Path(sys.argv[1]), int(sys.argv[2])
home = Path("home").absolute()
home.mkdir()
mlflow.set_tracking_uri(f"sqlite:///{home}/mlflow.db")
client = MlflowClient()
experiment = client.create_experiment("small", artifact_location=str(home / "artifacts"))


def keep(number: int) -> None:
    run = client.create_run(experiment).info.run_id
    (source / "config.json").write_text(f'{{"number": {number}, "rate": 0.01}}')
    client.log_artifacts(run, str(source), "code")
    now = int(time.time() * 1000)
    client.log_batch(run, [Metric("loss", 1.0 / (step + 1), now + step, step) for step in range(1000)])
    lines = [f"step {step:4d} of 1000: loss 0.123456, rate 0.01\n" for step in range(10, 1001, 10)]
    client.log_text(run, "".join(lines), "driver_log.txt")
    client.set_terminated(run)


def taken_kib() -> float:
    folders = [(folder, name) for folder, _, names in os.walk(home) for name in (".", *names)]
    return sum(os.lstat(os.path.join(folder, name)).st_blocks for folder, name in folders) / 2


sizes = [taken_kib()]
for number in range(count):
    keep(number)
    if number == 0:
        sizes.append(taken_kib())
sizes.append(taken_kib())
report({"first": [sizes[1] - sizes[0]], "each": [(sizes[2] - sizes[0]) / count]})
