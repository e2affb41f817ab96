"""Making files, copying them and sending them to MLflow's server: what both artifact benchmarks share."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measurement import RUNYARD, Absent, Bench, Outcome, figures, measured
from benchmarks.mlflow_server import AS_STARTED, mlflow_server
from benchmarks.own_workspace import own_workspace
from benchmarks.peers import PeerUnavailable
from benchmarks.programs.stopwatch import seconds

if TYPE_CHECKING:
    from runyard import Workspace

BLOCK = 1 << 20


def large_file(folder: Path, megabytes: int) -> None:
    """One file of random bytes, ``megabytes`` times 1,000,000 bytes."""
    left = megabytes * 1_000_000
    with (folder / "large.bin").open("wb") as file:
        while left:
            left -= file.write(os.urandom(min(BLOCK, left)))


def small_files(folder: Path, count: int) -> None:
    """``count`` files of 4,096 random bytes, 100 in a folder."""
    for i in range(count):
        part = folder / f"{i // 100:03d}"
        part.mkdir(exist_ok=True)
        (part / f"{i:05d}.bin").write_bytes(os.urandom(4096))


def through_runyard(bench: Bench, make: Callable[[Path], None], amount: int, repetitions: int) -> list[Outcome]:
    """Both of our ways: a run's files (kept by content) and the default datastore (kept by path).

    ``make(folder)`` fills a folder anew for each repetition, as bytes that are stored already are not sent again.
    """
    outcomes: list[Outcome] = []
    with own_workspace(bench) as workspace:
        for way, transfer in (("a run's files", _run_files), ("the datastore", _datastore)):
            up, down = [], []
            for _ in range(repetitions):
                source, target = bench.folder("source"), bench.folder("target")
                make(source)
                os.sync()
                send, fetch = transfer(workspace, source, target)
                up.append(amount / seconds(send))
                os.sync()
                down.append(amount / seconds(fetch))
                assert _count(target) == _count(source)
                bench.discard(source)
                bench.discard(target)
            outcomes += figures(f"{RUNYARD}, {way}", {"up": up, "down": down})
    return outcomes


def _run_files(workspace: "Workspace", source: Path, target: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    from runyard import Experiment

    run = Experiment(workspace, "artifacts").start_logging()
    return (
        lambda: run.upload_folder("files", str(source)),
        lambda: run.download_files(prefix="files", output_directory=str(target)),
    )


def _datastore(workspace: "Workspace", source: Path, target: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    store = workspace.get_default_datastore()
    return (
        lambda: store.upload(str(source), target_path=source.name, show_progress=False),
        lambda: store.download(str(target), prefix=source.name, show_progress=False),
    )


def _count(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def copied(bench: Bench, source: Path, amount: int, repetitions: int) -> list[Outcome]:
    """The floor: ``cp -r`` there and back, and the same until the disk has it. ``amount`` is divided by the seconds."""
    outcomes: list[Outcome] = []
    for subject, ending in (("cp -r", ""), ("cp -r, then sync", ' && sync -f "$2"')):
        samples: dict[str, list[float]] = {"up": [], "down": []}
        for _ in range(repetitions):
            folder = bench.folder("cp")
            there, back = folder / "there", folder / "back"
            for measure, start, end in (("up", source, there), ("down", there, back)):
                os.sync()
                command = ["sh", "-c", 'cp -r "$1" "$2"' + ending, "sh", start, end]
                samples[measure].append(amount / seconds(subprocess.run, command, check=True))
            bench.discard(folder)
        outcomes += figures(subject, samples)
    return outcomes


def through_mlflow(bench: Bench, source: Path, amount: int, repetitions: int) -> list[Outcome]:
    """The same through an MLflow server's artifact proxy."""
    try:
        with mlflow_server(bench) as server:
            arguments = (server.url, source, amount, repetitions)
            return measured(bench, "MLflow server", "mlflow", "artifacts_mlflow.py", *arguments, note=AS_STARTED)
    except PeerUnavailable as unavailable:
        return [Absent("MLflow server", str(unavailable))]
