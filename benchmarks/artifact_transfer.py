"""Making files, copying them and sending them to MLflow's server: what both artifact benchmarks share."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measurement import RUNYARD, Absent, Bench, Outcome, figures, measured
from benchmarks.mlflow_server import AS_STARTED, mlflow_server
from benchmarks.own_workspace import own_workspace
from benchmarks.peers import PeerUnavailable
from benchmarks.programs.stopwatch import seconds, settle_files

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


def through_runyard(
    bench: Bench, make: Callable[[Path], None], amount: int, repetitions: int, also_sent: bool = False
) -> list[Outcome]:
    """Both of our ways: a run's files (kept by content) and the default datastore (kept by path).

    ``make(folder)`` fills a folder anew for each repetition, as bytes that are stored already are not sent again.

    Args:
        also_sent: whether large files are measured as from another machine too, from where they cannot be handed over.
    """
    outcomes: list[Outcome] = []
    ways = {"a run's files": _run_files, "the datastore": _datastore}
    if also_sent:
        ways["a run's files, as from another machine"] = _run_files_sent
    with own_workspace(bench) as workspace:
        for way, transfer in ways.items():
            up, down = [], []
            for _ in range(repetitions):
                source, target = bench.folder("source"), bench.folder("target")
                make(source)
                settle_files(source)
                with transfer(workspace, source, target) as (send, fetch):
                    up.append(amount / seconds(send))
                    settle_files(source)
                    down.append(amount / seconds(fetch))
                assert _count(target) == _count(source)
                bench.discard(source)
                bench.discard(target)
            outcomes += figures(f"{RUNYARD}, {way}", {"up": up, "down": down})
    return outcomes


Acts = tuple[Callable[[], object], Callable[[], object]]


@contextmanager
def _run_files(workspace: "Workspace", source: Path, target: Path) -> Iterator[Acts]:
    from runyard import Experiment

    run = Experiment(workspace, "artifacts").start_logging()
    yield (
        lambda: run.upload_folder("files", str(source)),
        lambda: run.download_files(prefix="files", output_directory=str(target)),
    )
    run.complete()


@contextmanager
def _run_files_sent(workspace: "Workspace", source: Path, target: Path) -> Iterator[Acts]:
    from runyard import transfer

    worthwhile = transfer.WORTHWHILE
    transfer.WORTHWHILE = sys.maxsize  # no file is large enough to be handed over
    try:
        with _run_files(workspace, source, target) as acts:
            yield acts
    finally:
        transfer.WORTHWHILE = worthwhile


@contextmanager
def _datastore(workspace: "Workspace", source: Path, target: Path) -> Iterator[Acts]:
    store, place = workspace.get_default_datastore(), f"{source.parent.name}/{source.name}"
    yield (
        lambda: store.upload(str(source), target_path=place, show_progress=False),
        lambda: store.download(str(target), prefix=place, show_progress=False),
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
                settle_files(source)
                command = ["sh", "-c", 'cp -r "$1" "$2"' + ending, "sh", start, end]
                samples[measure].append(amount / seconds(subprocess.run, command, check=True))
            bench.discard(folder)
        outcomes += figures(subject, samples)
    return outcomes


def hashed(bench: Bench, source: Path, amount: int, repetitions: int) -> list[Outcome]:
    """What hashing the files takes by itself: each transfer does that once, and no copy by ``cp`` does."""

    def digest() -> None:
        for path in sorted(source.rglob("*.bin")):
            with path.open("rb") as file:
                hashlib.file_digest(file, "sha256")

    rates = [amount / seconds(digest) for _ in range(repetitions)]
    return figures("SHA-256 alone", {"up": rates, "down": rates})


def through_mlflow(bench: Bench, source: Path, amount: int, repetitions: int) -> list[Outcome]:
    """The same through an MLflow server's artifact proxy."""
    try:
        with mlflow_server(bench) as server:
            arguments = (server.url, source, amount, repetitions)
            return measured(bench, "MLflow server", "mlflow", "artifacts_mlflow.py", *arguments, note=AS_STARTED)
    except PeerUnavailable as unavailable:
        return [Absent("MLflow server", str(unavailable))]
