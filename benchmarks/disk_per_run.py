"""What a small run leaves on the disk, the first in a home and each of a hundred."""

import json
import os
import shutil
import struct
from pathlib import Path

from benchmarks.measurement import RUNYARD, Bench, Measure, Outcome, figures, measured
from benchmarks.own_workspace import NAME, own_home, this_python
from benchmarks.peers import PROGRAMS

TITLE = "Disk that a small run takes"
METHOD = (
    "A run of three source files, one of them changed each time, 1,000 points of a metric and 100 lines of log: what the "
    "first adds to an empty home, and each of 100 on average, in blocks of the file system with the server stopped. The "
    "floor is the content itself: the bytes of the files and the lines, and 24 for each point (step, value, time). MLflow "
    "keeps the points in SQLite and the files and the log as artifacts."
)
MEASURES = (Measure("first", "KiB"), Measure("each", "KiB"))

_SOURCE = PROGRAMS / "small_run"
_POINT = struct.Struct("<qdd")


def ours(bench: Bench) -> list[Outcome]:
    from runyard import embedded

    source, count = source_folder(bench), bench.sized(100, 5)
    with own_home(bench) as folder:
        sizes = []
        for numbers in (range(0), range(1), range(1, count)):
            _run_small(source, numbers)
            embedded.stop(str(folder))
            sizes.append(taken_kib(folder.parent.parent))
    return figures(RUNYARD, {"first": [sizes[1] - sizes[0]], "each": [(sizes[2] - sizes[0]) / count]})


def _run_small(source: Path, numbers: range) -> None:
    """Opens the workspace, made where it is not there yet, and has a run made for each number."""
    from runyard import Experiment, ScriptRunConfig, Workspace

    experiment = Experiment(Workspace.create(NAME, exist_ok=True, show_output=False), "small")
    config = ScriptRunConfig(str(source), script="train.py", environment=this_python())
    runs = []
    for number in numbers:
        configure(source, number)
        runs.append(experiment.submit(config))
    for run in runs:
        run.wait_for_completion(show_output=False)


def floor(bench: Bench) -> list[Outcome]:
    source = source_folder(bench)
    lines = sum(len(f"step {step:4d} of 1000: loss 0.123456, rate 0.01\n") for step in range(10, 1001, 10))
    content = sum(path.stat().st_size for path in source.iterdir()) + 1000 * _POINT.size + lines
    return figures("the content itself", {"first": [content / 1024], "each": [content / 1024]})


def peers(bench: Bench) -> list[Outcome]:
    source, count = source_folder(bench), bench.sized(100, 5)
    return measured(bench, "MLflow on SQLite", "mlflow", "disk_mlflow.py", source, count)


def source_folder(bench: Bench) -> Path:
    """The three files, in a folder that may be changed."""
    source = bench.folder("source") / "small_run"
    shutil.copytree(_SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
    configure(source, 0)
    return source


def configure(source: Path, number: int) -> None:
    """Changes the file that differs from run to run."""
    (source / "config.json").write_text(json.dumps({"number": number, "rate": 0.01}))


def taken_kib(folder: Path) -> float:
    """KiB of blocks of everything below ``folder``; a file with two names counts once."""
    blocks: dict[tuple[int, int], int] = {}
    for parent, _, names in os.walk(folder):
        for path in (Path(parent), *(Path(parent, name) for name in names)):
            stat = path.lstat()
            blocks[stat.st_dev, stat.st_ino] = stat.st_blocks
    return sum(blocks.values()) / 2
