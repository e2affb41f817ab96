"""Asks an MLflow server for the points of a picture. Arguments: address, points of the curve, points of the picture."""

import sys
import time
import urllib.parse
import urllib.request

from mlflow import MlflowClient
from mlflow.entities import Metric
from stopwatch import call_durations, report

url, points, pixels = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
client = MlflowClient(url)
run = client.create_run(client.create_experiment(f"curves-{time.time_ns()}")).info.run_id
now = int(time.time() * 1000)
for first in range(0, points, 1000):
    client.log_batch(run, [Metric("loss", 1.0 / (i + 1), now, i) for i in range(first, first + 1000)])


def ask(_: int) -> None:
    query = urllib.parse.urlencode({"run_ids": run, "metric_key": "loss", "max_results": pixels})
    with urllib.request.urlopen(f"{url}/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?{query}") as answer:
        answer.read()


ask(0)
report({"whole": [duration / 1e6 for duration in call_durations(ask, 15)]})
