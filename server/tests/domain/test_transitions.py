"""Which status may follow which, pair by pair, and what always holds of a run's path."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard.protocol.status import RunStatus
from runyard_server.domain.transitions import ALLOWED, is_allowed

USUAL = ["NotStarted", "Starting", "Preparing", "Queued", "Running", "Finalizing", "Completed"]


def test_every_status_has_its_row() -> None:
    assert set(ALLOWED) == set(RunStatus)


def test_the_usual_path_is_allowed_step_by_step() -> None:
    steps = [RunStatus(word) for word in USUAL]
    assert all(is_allowed(before, after) for before, after in zip(steps, steps[1:], strict=False))


@pytest.mark.parametrize("status", [status for status in RunStatus if not status.is_terminal])
def test_every_run_that_has_not_ended_may_fail_be_cancelled_or_go_on(status: RunStatus) -> None:
    assert is_allowed(status, RunStatus.FAILED)
    assert is_allowed(status, RunStatus.CANCELED)
    assert is_allowed(status, RunStatus.CANCEL_REQUESTED) or status is RunStatus.CANCEL_REQUESTED


@pytest.mark.parametrize(("before", "after"), list(product([s for s in RunStatus if s.is_terminal], RunStatus)))
def test_nothing_follows_an_end(before: RunStatus, after: RunStatus) -> None:
    assert not is_allowed(before, after)


@pytest.mark.parametrize("status", list(RunStatus))
def test_no_run_is_started_twice_or_follows_itself(status: RunStatus) -> None:
    assert not is_allowed(status, RunStatus.NOT_STARTED)
    assert not is_allowed(status, status)
    assert not is_allowed(status, RunStatus.STARTING) or status is RunStatus.NOT_STARTED


@given(st.lists(st.sampled_from(list(RunStatus)), max_size=40))
def test_whatever_is_asked_a_cancelled_run_never_runs_again(asked: list[RunStatus]) -> None:
    status, cancelled = RunStatus.NOT_STARTED, False
    for wanted in asked:
        if is_allowed(status, wanted):
            status = wanted
            cancelled = cancelled or status is RunStatus.CANCEL_REQUESTED
            assert not (cancelled and status in (RunStatus.RUNNING, RunStatus.QUEUED, RunStatus.PREPARING))
