"""``run.log()`` in a script: what one call costs, and how many points a second are kept."""

import json
import os

from benchmarks.measurement import RUNYARD, Bench, Measure, Outcome, Target, figures, measured
from benchmarks.own_workspace import own_workspace, this_python
from benchmarks.peers import PROGRAMS
from benchmarks.programs.stopwatch import Flush, Log, log_rates

TITLE = "`run.log()` in a script"
METHOD = (
    "One metric of one run, one value a call, from one thread. p50 and p99 are of single calls; points per second are of "
    "all calls with the final flush or close in the time, so that every point has left the process (ours waits until the "
    "server has stored them). The floor writes a like line to a file opened for appending, one `os.write` a point."
)
MEASURES = (
    Measure("p50", "µs", target=Target(factor=5)),
    Measure("p99", "µs"),
    Measure("points", "per s", more_is_better=True, target=Target(bound=100_000)),
)


def ours(bench: Bench) -> list[Outcome]:
    from runyard import Experiment, ScriptRunConfig

    result = bench.folder("ours") / "result.json"
    sizes = [bench.sized(100_000, 2_000), bench.sized(5, 2)]
    with own_workspace(bench) as workspace:
        config = ScriptRunConfig(
            str(PROGRAMS),
            script="log_runyard.py",
            arguments=sizes,
            environment=this_python({"BENCHMARK_RESULT": str(result)}),
        )
        run = Experiment(workspace, "log").submit(config)
        run.wait_for_completion(show_output=False)
    return figures(RUNYARD, json.loads(result.read_text()))


def floor(bench: Bench) -> list[Outcome]:
    folder = bench.folder("floor")
    opened = 0

    def open_run() -> tuple[Log, Flush]:
        nonlocal opened
        opened += 1
        file = os.open(folder / f"points-{opened}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        line = b'{"n":"loss","t":1790000000.123456,"v":0.123456789}\n'
        return lambda i: (os.write(file, line), None)[1], lambda: os.close(file)

    return figures("os.write", log_rates(open_run, bench.sized(100_000, 2_000), bench.sized(5, 2)))


def peers(bench: Bench) -> list[Outcome]:
    n = bench.sized(3, 1)
    return [
        *measured(bench, "trackio", "trackio", "log_trackio.py", bench.sized(20_000, 1_000), n),
        *measured(bench, "tensorboardX", "tensorboardX", "log_tensorboard.py", bench.sized(20_000, 1_000), n),
        *measured(bench, "Aim", "aim", "log_aim.py", bench.sized(5_000, 500), n),
        *measured(bench, "W&B offline", "wandb", "log_wandb.py", bench.sized(20_000, 1_000), n),
        *measured(bench, "MLflow on SQLite", "mlflow", "log_mlflow.py", bench.sized(500, 50), n),
    ]
