"""Many small files up to the server and down from it."""

from benchmarks.artifact_transfer import copied, small_files, through_mlflow, through_runyard
from benchmarks.measurement import Bench, Measure, Outcome, Target

TITLE = "5,000 files of 4 KB through the server"
METHOD = (
    "Upload and download of 5,000 files of 4,096 random bytes, 100 in a folder, through the server on loopback (ours: a "
    "run's files, and the default datastore), nothing stored before. The floor is `cp -r`, which stays in the page cache; "
    "with `sync` it reaches the disk."
)
MEASURES = (
    Measure("up", "files/s", more_is_better=True, target=Target(bound=1000)),
    Measure("down", "files/s", more_is_better=True, target=Target(bound=1000)),
)


def _count(bench: Bench) -> int:
    return bench.sized(5000, 100)


def ours(bench: Bench) -> list[Outcome]:
    amount = _count(bench)
    return through_runyard(bench, lambda folder: small_files(folder, amount), amount, bench.sized(5, 2))


def floor(bench: Bench) -> list[Outcome]:
    source, count = bench.folder("source"), _count(bench)
    small_files(source, count)
    return copied(bench, source, count, bench.sized(5, 2))


def peers(bench: Bench) -> list[Outcome]:
    # MLflow takes a minute for 5,000; its rate does not depend on the count.
    source, count = bench.folder("source"), bench.sized(1000, 20)
    small_files(source, count)
    return through_mlflow(bench, source, count, bench.sized(3, 1))
