"""Makes runs on an MLflow server. Arguments: address, count, repetitions."""

import sys
import time

from mlflow import MlflowClient
from stopwatch import call_durations, report, seconds

url, count, repetitions = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
client = MlflowClient(url)
experiment = client.create_experiment(f"queue-{time.time_ns()}")
for _ in range(8):  # the server's workers and the client warm up
    run = client.create_run(experiment).info.run_id


def make() -> None:
    for _ in range(count):
        client.create_run(experiment)


rates, statuses = [], []
for _ in range(repetitions):
    rates.append(count / seconds(make))
    durations = call_durations(lambda i: (client.get_run(run), None)[1], 50)
    statuses.append(durations[len(durations) // 2] / 1e6)
report({"submissions": rates, "status": statuses})
