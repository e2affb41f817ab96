"""Which status may follow which. ``records.runs.move`` is the only writer and asks here."""

from runyard.protocol.status import RunStatus as S

_ENDS = {S.FAILED, S.CANCEL_REQUESTED, S.CANCELED}

ALLOWED: dict[S, frozenset[S]] = {
    S.NOT_STARTED: frozenset({S.STARTING, S.RUNNING, S.COMPLETED} | _ENDS),
    S.STARTING: frozenset({S.PREPARING} | _ENDS),
    S.PREPARING: frozenset({S.QUEUED} | _ENDS),
    S.QUEUED: frozenset({S.RUNNING} | _ENDS),
    S.RUNNING: frozenset({S.FINALIZING, S.COMPLETED, S.NOT_RESPONDING, S.QUEUED} | _ENDS),
    S.NOT_RESPONDING: frozenset({S.RUNNING, S.FINALIZING, S.COMPLETED, S.QUEUED} | _ENDS),
    S.FINALIZING: frozenset({S.COMPLETED, S.QUEUED} | _ENDS),
    S.CANCEL_REQUESTED: frozenset({S.CANCELED, S.FAILED, S.COMPLETED}),
    S.COMPLETED: frozenset(),
    S.FAILED: frozenset(),
    S.CANCELED: frozenset(),
}


def is_allowed(before: S, after: S) -> bool:
    """Whether ``after`` may follow ``before``."""
    return after in ALLOWED[before]
