"""A long curve in the files of W&B's offline mode: their size. Argument: points."""

import sys
from pathlib import Path

import wandb
from growth import Close, Log, bytes_per_point
from stopwatch import report


def open_run() -> tuple[Log, Close]:
    run = wandb.init(project="benchmark", mode="offline", settings=wandb.Settings(x_disable_stats=True))
    return lambda value, step: run.log({"loss": value}, step=step), run.finish


report({"on the disk": [bytes_per_point(Path("wandb"), open_run, int(sys.argv[1]))]})
