"""Long curves in a local repository of Aim: the size of one, and the points of pictures.

Arguments: points of the long curve, points of its picture, runs to compare, points of each.
"""

import random
import sys
from pathlib import Path

from aim.sdk.types import QueryReportMode
from aim_repository import new_run, written
from growth import Close, Log, bytes_per_point
from stopwatch import call_times, report

points, pixels, count, each = (int(word) for word in sys.argv[1:])
SIZE = Path("bytes-per-point")


def open_run(name: str = "loss") -> tuple[Log, Close]:
    run = new_run()
    return lambda value, step: run.track(value, name=name, step=step), run.close


def write() -> None:
    SIZE.write_text(str(bytes_per_point(Path(".aim"), open_run, points)))
    for _ in range(count):
        log, close = open_run("many")
        for step in range(each):
            log(random.random(), step)
        close()


repo = written(write)


def picture(name: str, most: int) -> list[int]:
    """How many points of each curve of the metric were read."""
    found = repo.query_metrics(f"metric.name == '{name}'", report_mode=QueryReportMode.DISABLED)
    return [len(metric.data.sample(most).numpy()[0]) for metric in found]


assert max(picture("loss", pixels)) > 1 and len(picture("many", 240)) == count
report(
    {
        "on the disk": [float(SIZE.read_text())],
        "whole": call_times(lambda: picture("loss", pixels)),
        "100 runs": call_times(lambda: picture("many", 240)),
    }
)
