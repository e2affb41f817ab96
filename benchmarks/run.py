"""``make bench``: measures runyard, the floor and the peers, writes one table and draws one picture.

Usage: ``python benchmarks/run.py [--quick] [--only NAME ...] [--without-peers] [--output docs/benchmarks.md]``
"""

import argparse
import importlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # the package, not this folder, when run as a script

from benchmarks.machine import describe  # noqa: E402  (the path comes first)
from benchmarks.measurement import RUNYARD, Absent, Bench, Outcome  # noqa: E402
from benchmarks.peers import PeerEnvironments  # noqa: E402
from benchmarks.picture import svg  # noqa: E402
from benchmarks.report import Row, as_json, markdown, rows_of, verdicts  # noqa: E402

# They start an engine of their own; the floor is what that does alone, and there are no peers.
ON_ENGINES = ("slurm_first_line", "ray_first_line", "slurm_queue", "horovod_start")
BENCHMARKS = (
    "submit_to_first_line",
    "run_log",
    "import_time",
    "artifacts_large",
    "artifacts_small",
    "metric_intake",
    "curves",
    "server_start",
    "disk_per_run",
    "queued_submissions",
    "crowds",
    "load",
    "log_follow",
    "finished_runs",
    "pages_in_a_browser",
    "mpi_launch",
    *ON_ENGINES,
)


PART_LIMIT_S = 420  # no part of a row takes half as long; a stuck one must not hold up the others


class Overdue(Exception):
    """A part of a benchmark took longer than any should."""


def measure(name: str, bench: Bench) -> Row:
    """Runs one benchmark: the floor, ours, the peers. What fails is told in the row; the other rows are still measured."""
    started_at = time.monotonic()
    module = importlib.import_module(f"benchmarks.{name}")
    parts: dict[str, tuple[Outcome, ...]] = {}
    for part, subject in (("floor", "the floor"), ("ours", RUNYARD), ("peers", "the peers")):
        print(f"{name}: {part}", file=sys.stderr, flush=True)
        parts[part] = tuple(outcomes_of(getattr(module, part), bench, subject))
    print(f"{name}: {time.monotonic() - started_at:.0f} s", file=sys.stderr, flush=True)
    return Row(name, module.TITLE, module.METHOD, module.MEASURES, parts["ours"], parts["floor"], parts["peers"])


def outcomes_of(
    part: Callable[[Bench], Sequence[Outcome]], bench: Bench, subject: str, limit_s: float = PART_LIMIT_S
) -> Sequence[Outcome]:
    """What a part measured; where it failed or took longer than ``limit_s``, that its subject is absent."""
    try:
        with _limited(limit_s):
            return part(bench)
    except Exception as failure:
        traceback.print_exc()
        return [Absent(subject, f"failed with {type(failure).__name__}, see the terminal")]


@contextmanager
def _limited(limit_s: float) -> Iterator[None]:
    """Raises Overdue in what it surrounds after ``limit_s`` seconds."""

    def overdue(_number: int, _frame: FrameType | None) -> None:
        raise Overdue(f"not done after {limit_s:.0f} s")

    before = signal.signal(signal.SIGALRM, overdue)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _kept(report: Path, measured: Sequence[str]) -> list[Row]:
    """The rows of the report that was there which were not measured now."""
    if not report.is_file():
        return []
    return [row for row in rows_of(json.loads(report.read_text("utf-8"))) if row.name not in measured]


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures runyard beside its peers and beside the floor.")
    parser.add_argument("--quick", action="store_true", help="small sizes and few repetitions: proves that it runs")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=BENCHMARKS,
        default=BENCHMARKS,
        metavar="NAME",
        help="these; the others stay in the report as they are there, with the date of their run",
    )
    parser.add_argument("--without-peers", action="store_true", help="ours and the floor only: installs nothing")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "docs" / "benchmarks.md", help="Markdown; JSON and the picture beside it"
    )
    options = parser.parse_args()

    # An image that forbids it would have every start of ours compile the server anew, as no start of a peer's does.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    cache = ROOT / "build" / "benchmarks"
    cache.mkdir(parents=True, exist_ok=True)
    machine = describe()
    if options.quick:
        machine["sizes"] = "--quick: the figures prove only that the benchmarks run"
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=cache) as scratch:
        bench = Bench(options.quick, Path(scratch), PeerEnvironments(cache, allowed=not options.without_peers))
        measured = [measure(name, bench) for name in options.only]

    rows = [*measured, *_kept(options.output.with_suffix(".json"), options.only)]
    rows.sort(key=lambda row: BENCHMARKS.index(row.name))
    picture = options.output.with_suffix(".svg")
    report = markdown(rows, machine, picture.name)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(report, encoding="utf-8")
    data = json.dumps(as_json(rows, machine), indent=1, ensure_ascii=False)
    options.output.with_suffix(".json").write_text(data + "\n", encoding="utf-8")
    picture.write_text(svg(rows, machine), encoding="utf-8")
    print(report)
    absent = [
        outcome
        for row in measured
        for outcome in (*row.ours, *row.floor)
        if isinstance(outcome, Absent) and outcome.subject in (RUNYARD, "the floor")
    ]
    missed = [verdict for row in measured for verdict in verdicts(row) if not verdict.is_met]
    print(f"{RUNYARD}: {len(missed)} targets missed, {len(absent)} figures absent", file=sys.stderr)
    return 1 if absent else 0


if __name__ == "__main__":
    sys.exit(main())
