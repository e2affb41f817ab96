"""The chaos suite: something is killed, stopped or filled at a known place; the truth is judged afterwards.

What only a whole system can show is that no two parts together lose what each of them keeps.
"""

import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2]))  # `tests.chaos` is imported from wherever pytest is called

from tests.chaos.report import MARKER, Row
from tests.chaos.yard import Yard


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{MARKER}(fault, during): a case of the table in docs/reliability.md: what happens, and in which status",
    )


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


@pytest.fixture(scope="module")
def _yard_of_the_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    if not sys.platform.startswith("linux"):
        pytest.skip("needs Linux: its process table, and its leases on files")
    made = Yard(tmp_path_factory.mktemp("yard"))
    with pytest.MonkeyPatch.context() as environ:
        for name, value in made.variables.items():
            environ.setenv(name, value)
        try:
            yield made
            made.close()
        finally:
            made.kill_everything()


@pytest.fixture
def yard(_yard_of_the_module: Yard, request: pytest.FixtureRequest) -> Iterator[Yard]:
    """A home of this module's own; at its end the server is stopped and nothing may be left of it."""
    yield _yard_of_the_module
    if _FAILED in request.node.stash:
        _yard_of_the_module.begin_anew()  # what this case has left is not the next one's


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Row:
    """The case's line in the table: ``row.outcome = ...``; what happened, and when, is said by the marker."""
    return Row(request.node.user_properties)
