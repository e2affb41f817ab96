"""``make chaos``: runs the suite and prints its table; ``--write`` puts that into docs/reliability.md too.

Here it counts how soon a state was true; the tests alone, which may run beside others, have patience with that.
``--check`` runs nothing: it says whether every case of the suite has its row there. Other arguments go to pytest.
"""

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.marked_table import MarkedTable

ROOT = Path(__file__).parents[2]
PAGE = MarkedTable(ROOT / "docs" / "reliability.md", "make chaos ARGS=--write")
HEADER = (
    "| what happens | while the run is | the run then | seen within | log, metrics, outputs | left behind | next run |\n"
    "|---|---|---|---|---|---|---|"
)


class Collector:
    """A pytest plug-in that keeps each case's marker and, once it has run, its row."""

    def __init__(self) -> None:
        self.cases: dict[str, tuple[str, str]] = {}  # test id -> what happens, and in which status
        self.rows: dict[str, dict[str, Any]] = {}
        self.failed: set[str] = set()
        self.skipped: set[str] = set()
        self.is_part = False  # some cases were left out by what pytest was told

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            marker = item.get_closest_marker("chaos")
            if marker is not None:
                self.cases[item.nodeid] = (marker.args[0], marker.args[1])

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self.is_part = True
        for item in items:
            self.cases.pop(item.nodeid, None)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)
        elif report.skipped:
            self.skipped.add(report.nodeid)
        elif report.when == "call":
            self.rows[report.nodeid] = dict(report.user_properties)

    def lines(self) -> list[str]:
        """The table's lines below its header, in the order of the suite."""
        return [self._line(node, *case) for node, case in self.cases.items()]

    def late(self) -> list[str]:
        """Cases in which the state was true later than is promised."""
        from tests.chaos.report import TRUE_WITHIN_S

        return [node for node, row in self.rows.items() if (row.get("seconds") or 0.0) >= TRUE_WITHIN_S]

    def _line(self, node: str, fault: str, during: str) -> str:
        from tests.chaos.report import shown_history, shown_seconds

        row = self.rows.get(node, {})
        if node in self.failed or node in self.skipped:
            cells = ["**fails**" if node in self.failed else "(skipped here)", "", "", "", ""]
        else:
            cells = [
                row.get("outcome", "?"),
                shown_seconds(row.get("seconds")),
                shown_history(row.get("history", "?")),
                row.get("left", "?"),
                row.get("next_run", "?"),
            ]
        return "| " + " | ".join([fault, during, *cells]) + " |"


def written_cases() -> list[tuple[str, str]]:
    """The first two columns of each row in the page's table."""
    lines = PAGE.written().splitlines()
    rows = [re.split(r"\s*\|\s*", line.strip("| \n")) for line in lines if line.startswith("| ")]
    return [(row[0], row[1]) for row in rows[1:]]


def main(arguments: list[str]) -> int:
    """Runs pytest over the suite; its exit code, or 1 where a row has a gap."""
    writes, checks = "--write" in arguments, "--check" in arguments
    given = [argument for argument in arguments if argument not in ("--write", "--check")]
    found = Collector()
    more = ["--collect-only", "-q", "-q"] if checks else ["-q"]
    # The table's own test looks at the page that is written here.
    suite = [str(ROOT / "tests" / "chaos"), f"--ignore={Path(__file__).with_name('test_table.py')}"]
    code = int(pytest.main([*suite, *more, *given], plugins=[found]))
    if checks:
        missing = set(found.cases.values()) ^ set(written_cases())
        for fault, during in sorted(missing):
            print(f"differs: {fault} | {during}", file=sys.stderr)
        return 1 if missing or not found.cases else 0
    table = "\n".join([HEADER, *found.lines()])
    print("\n" + table)
    gaps = [line for line in found.lines() if "| ? |" in line]
    late = found.late()
    for node in late:
        print(f"The state was true later than is promised: {node}", file=sys.stderr)
    if writes and (code or gaps or late or found.is_part):
        print("The page was not written: that takes every case, and each to pass.", file=sys.stderr)
    elif writes:
        PAGE.write(table)
    return code or (1 if gaps or late else 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
