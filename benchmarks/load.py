"""Fifty browsers and twenty jobs that write, for five minutes: how quickly answers come, and whether memory grows."""

import json
import os
import subprocess
import sys

from benchmarks.measurement import RUNYARD, Bench, Measure, Outcome, Target, figures
from benchmarks.own_workspace import own_workspace
from benchmarks.peers import PROGRAMS

TITLE = "Fifty browsers, twenty jobs that write"
METHOD = (
    "Five minutes of 20 jobs that each log three metrics and print a line ten times a second; of 50 browsers, which are one "
    "process that asks what they ask: half have the table of runs open, ask each second for news and look again every four "
    "seconds, half a run's page, whose stream of events tells them when to look at what the run logs; every ten seconds they "
    "look at all of it, every twenty they go to another run, each at moments of its own. Ten clients ask the API, one "
    "question a second each: a run, its metrics, its logs, a curve, the newest runs. *api*: from a question to the last byte "
    "of its JSON, and from the opening of a stream of events to its beginning. *page*: the same of HTML, whole pages and "
    "parts of them. *line*: from a script's print to the "
    "page that follows. *growth* is what the server's resident memory grew by from the end of the first minute to the last. "
    "Errors are answers other than 200, streams that end, runs that are not whole afterwards and lines in the server's log. "
    "Everything shares the machine's cores. No peer: their pages are made by an application in the browser, which would be "
    "measured, not what serves it."
)
MEASURES = (
    Measure("api p50", "ms"),
    Measure("api p99", "ms", target=Target(bound=300)),
    Measure("page p50", "ms"),
    Measure("page p99", "ms", target=Target(bound=1000)),
    Measure("pages", "per s", more_is_better=True),
    Measure("line p50", "ms"),
    Measure("line p99", "ms"),
    Measure("events", "per s", more_is_better=True),
    Measure("growth", "MiB", target=Target(bound=16)),
    Measure("errors", "", target=Target(bound=0)),
)
_JOB = """
import os, sys, time
from runyard import Run
run = Run.get_context()
step = 0
while not os.path.exists(sys.argv[1]):
    for name in ("loss", "accuracy", "rate"):
        run.log(name, 1.0 / (step + 1))
    print("step", step, "at", time.time(), flush=True)
    step += 1
    time.sleep(0.1)
"""


def ours(bench: Bench) -> list[Outcome]:
    from tests.crowds.crowd import Crowd, follow_until

    jobs, count, clients, lasts_s = bench.sized(20, 3), bench.sized(50, 6), bench.sized(10, 2), bench.sized(300, 10)
    gate, result = bench.folder("gate") / "end", bench.folder("browsers") / "result.json"
    with own_workspace(bench) as workspace:
        crowd = Crowd(workspace, bench.folder("crowd"))
        crowd.target("nodes", jobs)
        runs = [crowd.submit(_JOB, "nodes", [str(gate)]) for _ in range(jobs)]
        for run in runs:
            follow_until(run, "Running")
        said = json.loads((crowd.folder / "server.json").read_text())
        arguments = [said["url"], said["token"], str(count), str(clients), str(lasts_s), *(run.id for run in runs)]
        command = [sys.executable, str(PROGRAMS / "browsers.py"), *arguments]
        with subprocess.Popen(command, env={**os.environ, "BENCHMARK_RESULT": str(result)}) as browsers:
            try:
                browsers.wait(timeout=lasts_s / 5)
            except subprocess.TimeoutExpired:
                warm = crowd.server_bytes()
            try:
                failed = browsers.wait(timeout=lasts_s)
            except subprocess.TimeoutExpired:
                browsers.kill()
                raise
            if failed:
                raise RuntimeError("the browsers' process failed, see above")
            at_last = crowd.server_bytes()
        gate.touch()
        for run in runs:
            run.wait_for_completion(show_output=False)
        samples = json.loads(result.read_text())
        wrong = sum(not run.verify()["ok"] for run in runs) + len(crowd.complaints().splitlines())
        samples["errors"][0] += wrong
        samples["growth"] = [(at_last - warm) / 2**20]
    return figures(RUNYARD, samples)


def floor(_bench: Bench) -> list[Outcome]:
    return []  # nothing bare does the like


def peers(_bench: Bench) -> list[Outcome]:
    return []
