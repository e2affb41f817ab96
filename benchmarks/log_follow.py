"""From a line that a script prints to the moment at which somebody who follows the run sees it."""

import subprocess
import sys
import time

from benchmarks.measurement import RUNYARD, Bench, Measure, Outcome, Target, figures, measured
from benchmarks.own_workspace import own_workspace, this_python
from benchmarks.peers import PROGRAMS
from benchmarks.programs.stopwatch import latencies

TITLE = "A line of the log, from print to a follower"
METHOD = (
    "A script prints the time, flushed, every 50 ms; who follows the run notes the time at which each line arrives (one "
    "machine, one clock). Ours: the events behind `runyard run logs -f` and `wait_for_completion(show_output=True)`, "
    "through job and server. The floor is `tail -f` on a file that the script writes by itself. Ray: "
    "`JobSubmissionClient.tail_job_logs`."
)
MEASURES = (Measure("p50", "ms", target=Target(bound=100)), Measure("p99", "ms"))

_TALK = PROGRAMS / "talk"
_PAUSE_S = 0.05


def ours(bench: Bench) -> list[Outcome]:
    from runyard import Experiment, ScriptRunConfig
    from runyard.following import events

    lines = _lines(bench)
    with own_workspace(bench) as workspace:
        config = ScriptRunConfig(
            str(_TALK), script="talk.py", arguments=[str(lines), str(_PAUSE_S)], environment=this_python()
        )
        run = Experiment(workspace, "talk").submit(config)
        seen = []
        for kind, said in events(run, logs=True, prefix="azureml-logs/70_driver_log"):
            if kind == "log":
                seen.append((time.time(), said["text"]))
    return figures(RUNYARD, latencies(seen))


def floor(bench: Bench) -> list[Outcome]:
    path, lines = bench.folder("floor") / "log.txt", _lines(bench)
    with path.open("wb") as log:
        talking = subprocess.Popen([sys.executable, _TALK / "talk.py", str(lines), str(_PAUSE_S)], stdout=log)
        tail = subprocess.Popen(["tail", "-c", "+1", "-f", path], stdout=subprocess.PIPE, text=True)
        try:
            assert tail.stdout is not None
            seen = [(time.time(), line) for _, line in zip(range(lines), tail.stdout)]
        finally:
            for process in (talking, tail):
                process.kill()
                process.communicate()
    return figures("tail -f", latencies(seen))


def peers(bench: Bench) -> list[Outcome]:
    return measured(bench, "Ray Jobs", "ray", "follow_ray.py", _TALK / "talk.py", _lines(bench), _PAUSE_S, alone=True)


def _lines(bench: Bench) -> int:
    return bench.sized(200, 20)
