"""Lists, sorts and filters a long history on an MLflow server. Arguments: address, its SQLite file, runs."""

import sys

from copied_mlflow import copied
from mlflow import MlflowClient
from stopwatch import call_times, report

url, database, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = MlflowClient(url)
here = [copied(client, database, count).experiment]
everywhere = [experiment.experiment_id for experiment in client.search_experiments()]
MOST_TO_SORT = 10_000  # ten times as many take a hundred times as long: a quarter of an hour
NEWEST, BEST = "attributes.start_time DESC", "metrics.loss ASC"


def times(experiments: list[str], order: str = NEWEST, where: str = "") -> list[float]:
    return call_times(lambda: client.search_runs(experiments, where, order_by=[order], max_results=100))


found = {
    "list": times(everywhere),
    "first page": times(here),
    "filter": times(here, where="metrics.loss < 0.001 and attributes.status = 'FINISHED'"),
    "free text": times(here, where="attributes.run_name LIKE '%nowhere%'"),
}
if count <= MOST_TO_SORT:
    found |= {"sort": times(here, BEST), "best 100": times(everywhere, BEST)}
report(found)
