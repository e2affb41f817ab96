"""Long curves in trackio's local database: the size of one, and the points of pictures.

Arguments: points of the long curve, points of its picture, runs to compare, points of each.
"""

import itertools
import json
import random
import sys
from pathlib import Path

import trackio
from growth import Close, Log, bytes_per_point
from stopwatch import call_times, report
from trackio.sqlite_storage import SQLiteStorage

points, pixels, count, each = (int(word) for word in sys.argv[1:])
names, PROJECT = itertools.count(), "benchmark"


def open_run() -> tuple[Log, Close]:
    trackio.init(project=PROJECT, name=f"run-{next(names)}", embed=False, auto_log_gpu=False, auto_log_cpu=False)
    return lambda value, step: trackio.log({"loss": value}, step=step), trackio.finish


size = bytes_per_point(Path.home(), open_run, points)
longest = next(names) - 1
first = longest + 2
for _ in range(count):
    log, close = open_run()
    for step in range(each):
        log(random.random(), step)
    close()
fewer = itertools.count()  # it keeps the last answers, each for its own number of points


def picture(runs: range, most: int) -> None:
    asked = [{"run": f"run-{number}", "run_id": None} for number in runs]
    answer = SQLiteStorage.get_logs_batch(PROJECT, asked, max_points=most - next(fewer))
    assert all(len(of_run["logs"]) > 1 for of_run in answer)
    json.dumps(answer)


report(
    {
        "on the disk": [size],
        "whole": call_times(lambda: picture(range(longest, longest + 1), pixels)),
        "100 runs": call_times(lambda: picture(range(first, first + count), 240)),
    }
)
