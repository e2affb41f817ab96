"""Lists, sorts and filters a history in a local repository of Aim. Argument: runs."""

import random
import sys
from itertools import islice

from aim.sdk.types import QueryReportMode
from aim_repository import new_run, written
from stopwatch import call_times, report

count = int(sys.argv[1])


def write() -> None:
    for number in range(count):
        run = new_run()
        run.name = f"run {number}"
        run.track(random.random(), name="loss", step=0)
        run.close()


repo = written(write)


def rows(query: str = "") -> list[tuple[str, float]]:
    """The first hundred runs that the query finds, and the last loss of each."""
    found = repo.query_runs(query, report_mode=QueryReportMode.DISABLED).iter_runs()
    return [(one.run.name, next(iter(one.run.metrics())).values.last_value()) for one in islice(found, 100)]


def best() -> list[tuple[float, str]]:
    """Aim sorts nothing by itself: who wants the best reads all."""
    found = repo.query_metrics("metric.name == 'loss'", report_mode=QueryReportMode.DISABLED)
    return sorted((metric.values.last_value(), metric.run.name) for metric in found)[:100]


FILTER, WORD = "run.metrics['loss'].last < 0.001", "'nowhere' in run.name"
assert len(rows()) == len(best()) == min(count, 100)
assert len(rows("run.metrics['loss'].last < 2")) == min(count, 100) and not rows(WORD)
report(
    {
        "first page": call_times(rows),
        "sort": call_times(best),
        "filter": call_times(lambda: rows(FILTER)),
        "free text": call_times(lambda: rows(WORD)),
    }
)
