"""Asks an MLflow server for the points of pictures.

Arguments: address, its SQLite file, points of the long curve, points of its picture, runs to compare, points of each.
"""

import sys
import urllib.parse
import urllib.request

from copied_mlflow import copied
from mlflow import MlflowClient
from stopwatch import call_times, report

url, database = sys.argv[1:3]
points, pixels, count, each = (int(word) for word in sys.argv[3:])
client = MlflowClient(url)


def ask(runs: list[str], most: int) -> None:
    asked = [*(("run_ids", run) for run in runs), ("metric_key", "loss"), ("max_results", str(most))]
    address = f"{url}/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?{urllib.parse.urlencode(asked)}"
    with urllib.request.urlopen(address) as answer:
        answer.read()


long = copied(client, database, 1, points).runs
many = copied(client, database, count, each).runs
report({"whole": call_times(lambda: ask(long, pixels)), "100 runs": call_times(lambda: ask(many, 240))})
