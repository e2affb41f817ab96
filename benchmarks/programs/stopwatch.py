"""The timing loops that all subjects share. Standard library only: it runs in every environment."""

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

Log = Callable[[int], None]
Flush = Callable[[], None]

_GOLDEN = 0.618034  # its multiples, less their whole part, fill the space between 0 and 1 evenly


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


def call_times(act: Callable[[], object], count: int = 15, patience_s: float = 10.0) -> list[float]:
    """Milliseconds of each of ``count`` calls, sorted; the first two warm up and are not counted.

    Once ``patience_s`` have passed, that was the last one; where nothing was counted by then, the last one counts.
    """
    deadline = time.monotonic() + patience_s
    taken: list[float] = []
    while len(taken) < count + 2 and (not taken or time.monotonic() < deadline):
        taken.append(seconds(act) * 1000)
    return sorted(taken[2:] or taken[-1:])


def first_lines(
    submit: Callable[[str], Callable[[], object]],
    folder: Path,
    repetitions: int,
    rest_s: float = 1.0,
    spread_s: float = 0.0,
) -> dict[str, list[float]]:
    """Milliseconds from the call of ``submit(path)`` to the first statement of the script.

    The script writes that moment to ``path``; ``submit`` gives a function that waits for its end.
    The first submission warms the client up and is not counted. Between two of them is a rest, as between
    those of a person: what the last one left to tidy up does not weigh on the next. Rests are longer by up to
    ``spread_s``, evenly spread: who looks around at intervals, as an engine's scheduler does, is met at any moment of
    them. Else each subject would meet it at a moment of its own, which says nothing of the subject.
    """
    samples = []
    for i in range(repetitions + 1):
        moment = folder / f"first-line-{i}"
        submitted_at = time.time()
        wait = submit(str(moment))
        wait()
        time.sleep(rest_s + spread_s * (i * _GOLDEN % 1))
        samples.append((float(moment.read_text()) - submitted_at) * 1000)
    return {"first line": samples[1:]}


def latencies(seen: list[tuple[float, str]]) -> dict[str, list[float]]:
    """Milliseconds from the time that each line holds to the time at which it was seen: median and 99th percentile.

    ``seen``: when, and what came then: whole lines, several at once, or pieces of one. Lines of others are left out.
    """
    found, rest = [], ""
    for at, text in seen:
        *lines, rest = (rest + text).split("\n")
        for line in lines:
            try:
                found.append((at - float(line)) * 1000)
            except ValueError:
                continue
    found.sort()
    return {"p50": [found[len(found) // 2]], "p99": [found[len(found) * 99 // 100]]}


def seconds(act: Callable[..., object], *arguments: object, **options: object) -> float:
    """How long ``act(*arguments, **options)`` takes."""
    started = time.perf_counter()
    act(*arguments, **options)
    return time.perf_counter() - started


def settle_files(folder: Path) -> None:
    """Makes the next copy of a folder's files start like every other: nothing waits for the disk, and memory is there.

    A virtual machine may get a page of memory from its host when it is first touched, which takes several times as
    long as filling it. Who copies to pages that were just freed does not pay for that; after this nobody does. They
    are a file's, since the blocks of memory that a file is given are others than those of a process.
    """
    os.sync()
    left = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) * 3 // 2
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        while left > 0:
            left -= file.write(bytes(min(1 << 20, left)))
