"""The timing loops that all subjects share. Standard library only: it runs in every environment."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

Log = Callable[[int], None]
Flush = Callable[[], None]


def report(samples: dict[str, list[float]]) -> None:
    """Hands ``{measure name: samples}`` to the benchmark that started this program."""
    Path(os.environ["BENCHMARK_RESULT"]).write_text(json.dumps(samples), encoding="utf-8")


def log_rates(open_run: Callable[[], tuple[Log, Flush]], points: int, repetitions: int) -> dict[str, list[float]]:
    """Times ``log(i)``: each call by itself in one run, then all of them with the final flush in another."""
    p50, p99, rate = [], [], []
    for _ in range(repetitions):
        log, flush = open_run()
        durations = call_durations(log, points)
        flush()
        p50.append(durations[len(durations) // 2] / 1000)
        p99.append(durations[len(durations) * 99 // 100] / 1000)
        log, flush = open_run()
        started = time.perf_counter()
        for i in range(points):
            log(i)
        flush()
        rate.append(points / (time.perf_counter() - started))
    return {"p50": p50, "p99": p99, "points": rate}


def call_durations(log: Log, points: int) -> list[int]:
    """Nanoseconds of each of ``points`` calls, sorted."""
    durations = [0] * points
    clock = time.perf_counter_ns
    for i in range(points):
        before = clock()
        log(i)
        durations[i] = clock() - before
    return sorted(durations)


def first_lines(
    submit: Callable[[str], Callable[[], object]], folder: Path, repetitions: int, rest_s: float = 1.0
) -> dict[str, list[float]]:
    """Milliseconds from the call of ``submit(path)`` to the first statement of the script.

    The script writes that moment to ``path``; ``submit`` gives a function that waits for its end.
    The first submission warms the client up and is not counted. Between two of them is a rest, as between
    those of a person: what the last one left to tidy up does not weigh on the next.
    """
    samples = []
    for i in range(repetitions + 1):
        moment = folder / f"first-line-{i}"
        submitted_at = time.time()
        wait = submit(str(moment))
        wait()
        time.sleep(rest_s)
        samples.append((float(moment.read_text()) - submitted_at) * 1000)
    return {"first line": samples[1:]}


def seconds(act: Callable[..., object], *arguments: object, **options: object) -> float:
    """How long ``act(*arguments, **options)`` takes."""
    started = time.perf_counter()
    act(*arguments, **options)
    return time.perf_counter() - started
