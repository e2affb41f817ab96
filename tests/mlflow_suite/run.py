"""``make mlflow``: runs MLflow's own tests of its REST client against our server, and says how they ended, and why.

    python -m tests.mlflow_suite.run SOURCES [--python PYTHON] [--write] [what pytest takes]

SOURCES is a checkout of MLflow's repository; PYTHON an interpreter that has what its tests need (default: one that uv
makes for this time). Nothing of MLflow's is kept here. ``--write`` puts the table into docs/mlflow.md. The exit code is
0 where every test passes but those that fail at what is declined on purpose (``out_of_scope.py``).
"""

import argparse
import collections
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.marked_table import MarkedTable
from tests.mlflow_suite.out_of_scope import declined

HERE = Path(__file__).resolve().parent
PAGE = MarkedTable(HERE.parents[1] / "docs" / "mlflow.md", 'make mlflow ARGS="SOURCES --write"')
SUITES = ("tests/tracking/test_model_registry.py", "tests/tracking/test_rest_tracking.py")
NEEDED = ("pytest", "pytest-asyncio", "pytest-timeout", "scikit-learn", "moto", "boto3", "httpx", "responses")
LONGEST_TEST_S = 300


def main() -> int:
    """0 where nothing is to be mended."""
    parser = argparse.ArgumentParser(description="MLflow's own tests of its REST client against our server.")
    parser.add_argument("sources", type=Path, help="a checkout of MLflow's repository")
    parser.add_argument("--python", help="an interpreter that has what MLflow's tests need (default: uv makes one)")
    parser.add_argument("--write", action="store_true", help="put the table into docs/mlflow.md")
    given, more = parser.parse_known_args()
    if given.write and more:
        parser.error(f"--write puts a whole table into the page; with {' '.join(more)} it would be of some tests only")
    sources = given.sources.resolve()
    version = version_of(sources)
    with tempfile.TemporaryDirectory(prefix="mlflow-suite-") as scratch:
        report = Path(scratch) / "report.jsonl"
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(sources), str(HERE)]),
            "RUNYARD_SUITE_SERVERS": json.dumps([sys.executable, str(HERE / "servers.py")]),
            "RUNYARD_SUITE_REPORT": str(report),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        }
        python = given.python or made_python(Path(scratch) / "venv", version)
        # Options of MLflow's own configuration are for its own continuous integration.
        options = ["-p", "ours", "-p", "no:cacheprovider", "-o", "addopts=", "-q", "--tb=short"]
        options += ["--rootdir", str(sources), "--timeout", str(LONGEST_TEST_S)]
        command = [python, "-m", "pytest", *options, *SUITES, *more]
        done = subprocess.run(command, cwd=sources, env=environment, check=False)
        if done.returncode not in (0, 1) or not report.exists():
            print(f"The tests did not come to their end: pytest ended with {done.returncode}.", file=sys.stderr)
            return 2
        tally = Tally.of(report.read_text(encoding="utf-8"))
    told = tally.told(version)
    print(told)
    if given.write:
        PAGE.write(told)
    for test in tally.unexpected:
        print(f"unexpected: {test}", file=sys.stderr)
    return 1 if tally.unexpected else 0


def version_of(sources: Path) -> str:
    """The version that a checkout says it is."""
    found = re.search(r'^VERSION = "(.+)"', (sources / "mlflow" / "version.py").read_text(encoding="utf-8"), re.M)
    if found is None:
        sys.exit(f"{sources} is no checkout of MLflow's repository: its mlflow/version.py says no version.")
    return found[1]


def made_python(folder: Path, version: str) -> str:
    """A Python of its own with the release of MLflow next to the sources, for what MLflow needs, and its tests' tools."""
    uv, python = [sys.executable, "-m", "uv"], str(folder / "bin" / "python")
    release = re.sub(r"\.?(dev|rc).*", "", version)
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    subprocess.run([*uv, "pip", "install", "--quiet", "--python", python, f"mlflow<={release}", *NEEDED], check=True)
    return python


@dataclass
class Tally:
    """How the tests ended: counts by file and outcome, and by reason."""

    counts: dict[str, collections.Counter[str]] = field(default_factory=dict)
    declined: collections.Counter[str] = field(default_factory=collections.Counter)
    not_asked: collections.Counter[str] = field(default_factory=collections.Counter)
    unexpected: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, report: str) -> "Tally":
        """From the lines that the plugin has written, of which the last of a test counts."""
        tally = cls()
        ends = {said["test"]: said for said in map(json.loads, report.splitlines())}
        for test, said in sorted(ends.items()):
            tally._add(test, said["outcome"], said["why"])
        return tally

    def _add(self, test: str, outcome: str, why: str) -> None:
        file, _, name = test.partition("::")
        reason = declined(name.partition("[")[0])
        counts = self.counts.setdefault(file, collections.Counter())
        if outcome == "failed" and reason is not None:
            outcome = "declined"
            self.declined[reason] += 1
        elif outcome == "failed":
            self.unexpected.append(test)
        elif outcome == "passed" and reason is not None:
            self.unexpected.append(f"{test} passes, and out_of_scope.py says that it is declined")
        elif outcome == "not asked":
            self.not_asked[why] += 1
        counts[outcome] += 1

    def told(self, version: str) -> str:
        """The tables as they stand in the documentation."""
        columns = ("passed", "declined", "failed", "not asked", "skipped by MLflow")
        lines = [
            f"MLflow's sources say that they are {version}.",
            "",
            "| file | passed | fail at what is declined | fail | not asked | skipped by MLflow itself |",
            "|---|---:|---:|---:|---:|---:|",
        ]
        for file, counts in self.counts.items():
            lines.append(f"| `{file}` | " + " | ".join(str(counts[column]) for column in columns) + " |")
        for title, reasons in (("what is declined", self.declined), ("not asked", self.not_asked)):
            lines += ["", f"| tests | {title} |", "|---:|---|"]
            lines += [f"| {count} | {reason} |" for reason, count in reasons.most_common()]
        return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
