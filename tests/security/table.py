"""``make attacks``: replays the known attacks and prints their table; ``--write`` puts it into docs/security.md too.

The table is made from the marks of the tests (``attacks.py``); it is written only where all of them pass.
``--check`` runs nothing: it says whether the page has the table of the marks.
"""

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.marked_table import MarkedTable

ROOT = Path(__file__).parents[2]
PAGE = MarkedTable(ROOT / "docs" / "security.md", "make attacks ARGS=--write")
HEADER = "| no. | seen in | what is tried | what runyard does | tests |\n|---|---|---|---|---|"


class Collector:
    """A pytest plug-in that keeps the attacks of the tests, and drops every other test."""

    def __init__(self) -> None:
        self.attacks: dict[int, dict[str, Any]] = {}
        self.tests: dict[int, set[str]] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if self._keep(item)]

    def _keep(self, item: pytest.Item) -> bool:
        mark = item.get_closest_marker("attack")
        if mark is None:
            return False
        number = mark.kwargs["number"]
        # Of several tests on one attack, the first to say what is tried speaks for all.
        if mark.kwargs["attempt"]:
            self.attacks.setdefault(number, mark.kwargs)
        self.tests.setdefault(number, set()).add(item.path.name)
        return True

    def table(self) -> str:
        """The table in the order of the numbers."""
        lines = [HEADER]
        for number in sorted(self.tests):
            attack = self.attacks[number]
            files = ", ".join(f"[`{name}`](../tests/security/{name})" for name in sorted(self.tests[number]))
            lines.append(f"| {number} | {attack['source']} | {attack['attempt']} | {attack['answer']} | {files} |")
        return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Runs or only collects; the process's exit code."""
    known = {"--write", "--check"}
    collector = Collector()
    options = [argument for argument in arguments if argument not in known]
    if "--check" in arguments:
        options += ["--collect-only", "-qq"]
    code = int(pytest.main(["-q", "-p", "no:cacheprovider", str(Path(__file__).parent), *options], plugins=[collector]))
    if code:
        return code
    table = collector.table()
    if "--check" in arguments:
        return 0 if PAGE.has(table) else 1
    print(table)
    if "--write" in arguments:
        PAGE.write(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
