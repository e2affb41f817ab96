"""``make bench``: measures runyard, the floor and the peers, and writes one table.

Usage: ``python benchmarks/run.py [--quick] [--only NAME ...] [--without-peers] [--output docs/benchmarks.md]``
"""

import argparse
import importlib
import json
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # the package, not this folder, when run as a script

from benchmarks.machine import describe  # noqa: E402  (the path comes first)
from benchmarks.measurement import RUNYARD, Absent, Bench, Outcome  # noqa: E402
from benchmarks.peers import PeerEnvironments  # noqa: E402
from benchmarks.report import Row, as_json, markdown, verdicts  # noqa: E402

BENCHMARKS = (
    "submit_to_first_line",
    "run_log",
    "import_time",
    "artifacts_large",
    "artifacts_small",
    "metric_intake",
    "server_start",
    "queued_submissions",
)


def measure(name: str, bench: Bench) -> Row:
    """Runs one benchmark: ours, the floor, the peers."""
    module = importlib.import_module(f"benchmarks.{name}")
    parts: dict[str, tuple[Outcome, ...]] = {}
    for part in ("floor", "ours", "peers"):
        print(f"{name}: {part}", file=sys.stderr, flush=True)
        parts[part] = tuple(_outcomes(getattr(module, part), bench) if part == "ours" else getattr(module, part)(bench))
    return Row(name, module.TITLE, module.METHOD, module.MEASURES, **parts)


def _outcomes(ours: Callable[[Bench], list[Outcome]], bench: Bench) -> list[Outcome]:
    """Our figures; a failure of ours is told in the table as a peer's is, and the others are still measured."""
    try:
        return ours(bench)
    except Exception as failure:
        traceback.print_exc()
        return [Absent(RUNYARD, f"failed with {type(failure).__name__}, see the terminal")]


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures runyard beside its peers and beside the floor.")
    parser.add_argument("--quick", action="store_true", help="small sizes and few repetitions: proves that it runs")
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=BENCHMARKS, metavar="NAME")
    parser.add_argument("--without-peers", action="store_true", help="ours and the floor only: installs nothing")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks.md", help="Markdown; JSON beside it")
    options = parser.parse_args()

    cache = ROOT / "build" / "benchmarks"
    cache.mkdir(parents=True, exist_ok=True)
    machine = describe()
    if options.quick:
        machine["sizes"] = "--quick: the figures prove only that the benchmarks run"
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=cache) as scratch:
        bench = Bench(options.quick, Path(scratch), PeerEnvironments(cache, allowed=not options.without_peers))
        rows = [measure(name, bench) for name in options.only]

    report = markdown(rows, machine)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(report, encoding="utf-8")
    data = json.dumps(as_json(rows, machine), indent=1, ensure_ascii=False)
    options.output.with_suffix(".json").write_text(data + "\n", encoding="utf-8")
    print(report)
    absent = [
        outcome for row in rows for outcome in row.ours if isinstance(outcome, Absent) and outcome.subject == RUNYARD
    ]
    missed = [verdict for row in rows for verdict in verdicts(row) if not verdict.is_met]
    print(f"{RUNYARD}: {len(missed)} targets missed, {len(absent)} figures absent", file=sys.stderr)
    return 1 if absent else 0


if __name__ == "__main__":
    sys.exit(main())
