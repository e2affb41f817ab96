"""``make contract``: runs the executors' contract on the real engines and prints its table, executor by test.

``--write`` puts it into docs/adding-an-executor.md too, if each test ran and passed. Other arguments go to pytest.
"""

import ast
import re
import sys
from pathlib import Path

import pytest

from tests.marked_table import MarkedTable

ROOT = Path(__file__).parents[1]
CONTRACT = ROOT / "server" / "runyard_server" / "testing" / "executor_contract.py"
PAGE = MarkedTable(ROOT / "docs" / "adding-an-executor.md", "make contract ARGS=--write")

# Each engine with the class that runs the contract on it. The order is that of the columns.
EXECUTORS = {
    "local": ("server/tests/executors/test_local.py", "TestLocalExecutor"),
    "Slurm": ("server/tests/executors/test_slurm.py", "TestSlurmExecutor"),
    "Ray": ("tests/end_to_end/test_ray_executor.py", "TestRayExecutor"),
}
HOLDS, FAILS, NOT_ASKED = "holds", "**fails**", "–"


def classes(path: Path) -> dict[str, ast.ClassDef]:
    """The classes of a module, by name, as its text has them: nothing is imported."""
    return {node.name: node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)}


def contract() -> dict[str, dict[str, list[str]]]:
    """By the contract's classes: the tests that each adds, and the classes that it derives from."""
    return {
        name: {
            "tests": [
                part.name for part in body.body if isinstance(part, ast.FunctionDef) and part.name.startswith("test_")
            ],
            "bases": [ast.unparse(base) for base in body.bases],
        }
        for name, body in classes(CONTRACT).items()
    }


def asked_of(executor: str) -> set[str]:
    """The contract's tests that run on an engine."""
    path, name = EXECUTORS[executor]
    known = contract()
    waiting, asked = [ast.unparse(base) for base in classes(ROOT / path)[name].bases], set()
    while waiting:
        base = known.get(waiting.pop())
        if base is not None:
            asked.update(base["tests"])
            waiting.extend(base["bases"])
    return asked


def table(failed: set[tuple[str, str]]) -> str:
    """The table. ``failed``: pairs of an executor and a test that has not held there."""
    lines = [f"| | {' | '.join(EXECUTORS)} |", "|---" * (1 + len(EXECUTORS)) + "|"]
    asked = {executor: asked_of(executor) for executor in EXECUTORS}
    for test in (test for part in contract().values() for test in part["tests"]):
        cells = [
            NOT_ASKED if test not in asked[executor] else FAILS if (executor, test) in failed else HOLDS
            for executor in EXECUTORS
        ]
        lines.append(f"| {test.removeprefix('test_').replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(lines)


class Collector:
    """A pytest plug-in that notes on which engine each test of the contract has held."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], bool] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        path, _, name = report.nodeid.partition("::")
        for executor, (own, test_class) in EXECUTORS.items():
            if path == own and name.startswith(test_class + "::"):
                key = (executor, re.sub(r"\[.*", "", name.partition("::")[2]))
                if report.when == "call" or not report.passed:
                    self.held[key] = self.held.get(key, True) and report.passed


def main(arguments: list[str]) -> int:
    """Runs the contract; pytest's exit code, or 1 where a test did not run."""
    writes = "--write" in arguments
    given = [argument for argument in arguments if argument != "--write"]
    found = Collector()
    suite = [str(ROOT / path) + "::" + name for path, name in EXECUTORS.values()]
    code = int(pytest.main(["-q", "--rootdir", str(ROOT), *suite, *given], plugins=[found]))
    asked = {(executor, test) for executor in EXECUTORS for test in asked_of(executor)}
    failed = {key for key in asked if not found.held.get(key, False)}
    made = table(failed)
    print("\n" + made)
    if writes and (code or failed):
        print("The page was not written: that takes every test, on every engine, and each to pass.", file=sys.stderr)
    elif writes:
        PAGE.write(made)
    return code or (1 if failed else 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
