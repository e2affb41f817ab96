"""A local repository of Aim in the working directory: written by one process, indexed, and then read by another."""

import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from aim import Repo, Run


def written(write: Callable[[], None]) -> Repo:
    """The repository that holds what ``write`` has logged.

    Who has written does not see all of it, and a run's metrics are found only once they are indexed.
    """
    writer = multiprocessing.Process(target=_write, args=(write,))
    writer.start()
    writer.join()
    if writer.exitcode:
        raise SystemExit(f"writing ended with {writer.exitcode}")
    aim = Path(sys.executable).with_name("aim")
    subprocess.run([aim, "storage", "--repo", ".", "reindex", "-y"], check=True)
    return Repo.from_path(".")


def _write(write: Callable[[], None]) -> None:
    Repo.from_path(".", init=True)
    write()


def new_run() -> Run:
    """One of which nothing is kept but what is tracked."""
    return Run(system_tracking_interval=None, capture_terminal_logs=False)
