"""Sends a folder's files to an MLflow server and fetches them. Arguments: address, folder, amount, repetitions.

The amount (MB or files) is divided by the seconds."""

import sys
import tempfile
import time
from pathlib import Path

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from stopwatch import report, seconds, settle_files

url, folder, amount, repetitions = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
client = MlflowClient(url)
experiment = client.create_experiment(f"artifacts-{time.time_ns()}")


def count(folder: str) -> int:
    return sum(path.is_file() for path in Path(folder).rglob("*"))


Path("warm.txt").write_text("warm")
for _ in range(8):  # the server's workers and the client warm up
    run = client.create_run(experiment).info.run_id
    client.log_artifact(run, "warm.txt")
    download_artifacts(run_id=run, artifact_path="warm.txt", dst_path=".", tracking_uri=url)
up, down = [], []
for _ in range(repetitions):
    run = client.create_run(experiment).info.run_id
    settle_files(Path(folder))
    up.append(amount / seconds(client.log_artifacts, run, folder))
    target = tempfile.mkdtemp(dir=".")
    settle_files(Path(folder))
    down.append(amount / seconds(download_artifacts, run_id=run, dst_path=target, tracking_uri=url))
    assert count(target) == count(folder)
report({"up": up, "down": down})
