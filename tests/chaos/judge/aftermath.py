"""What must hold after every fault, once the run has ended."""

from pathlib import Path

from runyard.run import Run
from tests.chaos.judge.verdict import judge
from tests.chaos.report import TRUE_WITHIN_S, Row
from tests.chaos.yard import Yard


def ends_well(yard: Yard, row: Row, run: Run, witness: Path) -> None:
    """A fault that is none of the run's: it completes, and all is well afterwards."""
    yard.end_of(run)
    assert run.get_status() == "Completed", run.get_details()
    assert yard.story(run)[-1] == "Completed"
    assert yard.story(run).count("Running") == 1, yard.story(run)
    all_is_well(yard, row, run, witness)


def ends_as(yard: Yard, row: Row, run: Run, code: str, at: float | None) -> None:
    """A fault that the run did not survive: it has failed, with that cause, in time.

    ``make chaos`` counts what is promised; where other tests run beside this one, it may take three times as long.

    Args:
        at: when it happened, or when somebody looked again; a monotonic moment.
    """
    row.seconds = yard.end_of(run, at)
    assert row.seconds < 3 * TRUE_WITHIN_S
    assert run.get_status() == "Failed", run.get_details()
    assert yard.cause(run)["code"] == code, yard.cause(run)


def all_is_well(yard: Yard, row: Row, run: Run, witness: Path, behind: str = "") -> None:
    """History, leavings and the next run; fills the row. ``behind``: as for ``judge``."""
    row.history = judge(run, witness, behind)
    nothing_is_left(yard, row)


def nothing_is_left(yard: Yard, row: Row) -> None:
    """Leavings and the next run alone, for a script that wrote nothing."""
    yard.reap_clients()
    yard.assert_nothing_is_left()
    row.left = "nothing"
    yard.assert_the_next_run_works()
    row.next_run = "works"
