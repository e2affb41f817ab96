"""Whether a run is tried again, what was lost, and what the next attempt goes on from."""

import pytest

from runyard.protocol.jobs import JobReport
from runyard.protocol.runs import RESUMED, RUN_FILES, DataReferenceSpec, RetrySpec, RunError, RunSpec
from runyard_server.domain.retrying import goes_on_from, is_tried_again, record_of, references, what_was_lost


def spec(retry: RetrySpec | None = None, *data: DataReferenceSpec) -> RunSpec:
    return RunSpec("e", "0" * 64, command=["true"], retry=retry or RetrySpec(), data_references=list(data))


@pytest.mark.parametrize(
    ("retry", "attempt", "code", "again"),
    [
        (RetrySpec(), 1, "node_lost", False),
        (RetrySpec(2), 1, "node_lost", True),
        (RetrySpec(2), 1, "preempted", True),
        (RetrySpec(2), 2, "node_lost", False),
        (RetrySpec(2), 1, "script_failed", False),
        (RetrySpec(2, ["script_failed"]), 1, "script_failed", True),
        (RetrySpec(2, ["script_failed"]), 1, "out_of_memory", False),
        (RetrySpec(2), 1, "mine", False),  # what the script said itself
    ],
)
def test_an_attempt_is_followed_by_another_after_a_loss_or_what_was_named(
    retry: RetrySpec, attempt: int, code: str, again: bool
) -> None:
    assert is_tried_again(spec(retry), attempt, RunError(code, "")) is again


def test_lost_work_counts_from_the_newest_output_of_any_node_else_from_the_start() -> None:
    error = RunError("job_lost", "gone")
    saved = [JobReport(1, 0, 9, "done", saved_at=130.0), None, JobReport(1, 1, 9, "done", saved_at=150.0)]
    some = record_of(1, error, 100.0, 160.0, saved)
    assert (some.saved_at, some.lost_work_s) == (150.0, 10.0)
    assert what_was_lost(some) == "10 s of work are lost: so long ago its last output was written"
    none = record_of(1, error, 100.0, 160.0, [JobReport(1, 0, 9, "done"), None])
    assert (none.saved_at, none.lost_work_s) == (None, 60.0)
    assert "it started and left no output" in what_was_lost(none)
    assert what_was_lost(record_of(1, error, None, 160.0, [])) == ""
    assert record_of(1, error, 100.0, 160.0, [JobReport(1, 0, 9, "done", saved_at=170.0)]).lost_work_s == 0.0


def test_an_attempt_goes_on_from_its_runs_own_outputs_under_one_name() -> None:
    own = DataReferenceSpec(RESUMED, RUN_FILES, "outputs", "download", run="me")
    other = DataReferenceSpec(RESUMED, RUN_FILES, "outputs", "download", run="before")
    data = DataReferenceSpec("mnist", "store", "mnist")
    assert goes_on_from(spec(None, data), "me", has_own=False) is None
    assert goes_on_from(spec(None, data), "me", has_own=True) == own
    assert goes_on_from(spec(None, other, data), "me", has_own=False) == other
    assert goes_on_from(spec(None, other, data), "me", has_own=True) == own
    assert references(spec(None, other, data), own) == [data, own]


def test_a_place_on_a_datastore_that_a_script_resumes_from_stays() -> None:
    place = DataReferenceSpec(RESUMED, "store", "checkpoints")
    found = goes_on_from(spec(None, place), "me", has_own=True)
    assert found is not None and (found.run, found.name) == ("me", "RUNYARD_RESUME")
    assert references(spec(None, place), found) == [place, found]
