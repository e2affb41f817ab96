"""Makes runs with a metric on an MLflow server, then lists and sorts them. Arguments: address, runs."""

import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from mlflow import MlflowClient
from mlflow.entities import Metric
from stopwatch import call_durations, report

url, count = sys.argv[1], int(sys.argv[2])
client = MlflowClient(url)
experiment = client.create_experiment(f"table-{time.time_ns()}")


def make(_: int) -> None:
    run = client.create_run(experiment).info.run_id
    numbers = [Metric(name, random.random(), 0, 0) for name in ("loss", "accuracy", "rate")]
    client.log_batch(run, metrics=numbers)


with ThreadPoolExecutor(8) as pool:
    list(pool.map(make, range(count)))


def times(order: str) -> list[float]:
    found = call_durations(lambda _: (client.search_runs([experiment], order_by=[order], max_results=100), None)[1], 10)
    return [duration / 1e6 for duration in found]


report({"list": times("start_time DESC"), "best 100": times("metrics.loss ASC")})
