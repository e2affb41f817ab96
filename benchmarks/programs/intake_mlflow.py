"""Sends points to an MLflow server. Arguments: address, points a request, points, repetitions."""

import sys
import time

from mlflow import MlflowClient
from mlflow.entities import Metric
from stopwatch import report, seconds

url, batch, points, repetitions = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
client = MlflowClient(url)
experiment = client.create_experiment(f"intake-{time.time_ns()}")


def send(run: str) -> None:
    now = int(time.time() * 1000)
    if batch == 1:
        for step in range(points):
            client.log_metric(run, "loss", 1.0 / (step + 1), now, step)
        return
    for first in range(0, points, batch):
        client.log_batch(run, [Metric("loss", 1.0 / (i + 1), now, i) for i in range(first, first + batch)])


for step in range(20):  # the server's workers and the client warm up
    client.log_metric(client.create_run(experiment).info.run_id, "loss", 0.0, 0, step)
rates = []
for _ in range(repetitions):
    run = client.create_run(experiment).info.run_id
    rates.append(points / seconds(send, run))
report({"points": rates})
