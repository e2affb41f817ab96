"""Whether a run whose attempt has ended is tried again, what that cost, and what the next attempt goes on from. Pure."""

from collections.abc import Sequence

from runyard.protocol.jobs import JobReport
from runyard.protocol.runs import LOSSES, RESUMED, RUN_FILES, AttemptRecord, DataReferenceSpec, RunError, RunSpec

OUTPUTS = "outputs"
OWN_NAME = "RUNYARD_RESUME"  # where the script has a place of its own under Azure's name


def is_tried_again(spec: RunSpec, attempt: int, error: RunError) -> bool:
    """Whether another attempt follows the one that has ended with ``error``."""
    return attempt < spec.retry.max_attempts and (error.code in LOSSES or error.code in spec.retry.causes)


def record_of(
    attempt: int,
    error: RunError,
    started_at: float | None,
    seen_at: float,
    reports: Sequence[JobReport | None],
) -> AttemptRecord:
    """What is kept of an attempt that has ended badly, with the work that it had done and not put out.

    Args:
        started_at: when its jobs were started; None where they never were.
        seen_at: when its end was seen.
        reports: the last ones of its jobs.
    """
    saved_at = max((said.saved_at for said in reports if said is not None and said.saved_at is not None), default=None)
    since = started_at if saved_at is None else saved_at
    lost_s = None if since is None else max(0.0, seen_at - since)
    return AttemptRecord(attempt, error.code, error.message, seen_at, started_at, saved_at, lost_s)


def what_was_lost(attempt: AttemptRecord) -> str:
    """The lost work in words; "" where nothing had begun."""
    if attempt.lost_work_s is None:
        return ""
    since = "it started and left no output" if attempt.saved_at is None else "its last output was written"
    return f"{attempt.lost_work_s:.0f} s of work are lost: so long ago {since}"


def goes_on_from(spec: RunSpec, run_id: str, has_own: bool) -> DataReferenceSpec | None:
    """What the script finds in ``RUNYARD_RESUME_DIR``: its run's own outputs, else what ``resume_from`` names.

    Args:
        has_own: whether an earlier attempt of the run has left outputs.
    """
    given = next((reference for reference in spec.data_references if reference.name == RESUMED), None)
    if not has_own:
        return given
    # A copy of another run's outputs is replaced, and so is what --resume-from names. A place on a datastore stays:
    # the script may keep its checkpoints there.
    name = RESUMED if given is None or given.run is not None else OWN_NAME
    return DataReferenceSpec(name=name, datastore=RUN_FILES, path=OUTPUTS, mode="download", run=run_id)


def references(spec: RunSpec, resume: DataReferenceSpec | None) -> list[DataReferenceSpec]:
    """The data references of an attempt that goes on from ``resume``."""
    others = [reference for reference in spec.data_references if resume is None or reference.name != resume.name]
    return others if resume is None else [*others, resume]
