"""One large file up to the server and down from it."""

from benchmarks.artifact_transfer import copied, hashed, large_file, through_mlflow, through_runyard
from benchmarks.measurement import Bench, Measure, Outcome, Target

TITLE = "One file of 500 MB through the server"
METHOD = (
    "Upload and download of 500 MB of random bytes through the server on loopback (ours: a run's files, and the "
    "default datastore), nothing stored before. A client on the server's machine hands large files over as open "
    "files; one on another machine sends them, which is measured here over loopback too. The floor is `cp -r`, which "
    "stays in the page cache; with `sync` it reaches the disk. Ours hashes every byte on the way, on all cores; the "
    "speed of one SHA-256 on one core stands beside it. Before each copy nothing waits for the disk, and memory for "
    "it was just freed."
)
MEASURES = (
    Measure("up", "MB/s", more_is_better=True, target=Target(factor=0.5)),
    Measure("down", "MB/s", more_is_better=True, target=Target(factor=0.5)),
)


def _megabytes(bench: Bench) -> int:
    return bench.sized(500, 20)


def ours(bench: Bench) -> list[Outcome]:
    amount = _megabytes(bench)
    return through_runyard(bench, lambda folder: large_file(folder, amount), amount, bench.sized(7, 2), also_sent=True)


def floor(bench: Bench) -> list[Outcome]:
    source, megabytes = bench.folder("source"), _megabytes(bench)
    large_file(source, megabytes)
    outcomes = copied(bench, source, megabytes, bench.sized(7, 2)) + hashed(bench, source, megabytes, 3)
    bench.discard(source)
    return outcomes


def peers(bench: Bench) -> list[Outcome]:
    source, megabytes = bench.folder("source"), _megabytes(bench)
    large_file(source, megabytes)
    outcomes = through_mlflow(bench, source, megabytes, bench.sized(3, 1))
    bench.discard(source)
    return outcomes
