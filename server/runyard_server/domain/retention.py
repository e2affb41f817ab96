"""Which runs a retention rule takes by their age and number, without I/O. What else keeps a run is known elsewhere."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from runyard.protocol.retention import RetentionRule
from runyard.protocol.status import RunStatus

DAY_S = 24 * 3600.0


@dataclass(frozen=True)
class Outline:
    """What must be known of a run to decide on it; many are read at once."""

    run_id: str
    experiment: str
    number: int
    parent_id: str | None
    type: str
    status: RunStatus
    display_name: str | None
    created_at: float
    ended_at: float | None
    archived_at: float | None
    files_removed_at: float | None
    snapshot: str | None

    def goes_on_at(self, moment: float) -> str | None:
        """Why it had not ended by then, None where it had: a plan that is made anew is of its own moment still."""
        if not self.status.is_terminal:
            return f"not ended ({self.status.value})"
        is_later = self.ended_at is not None and self.ended_at > moment
        return "ended only after the plan was made" if is_later else None


@dataclass(frozen=True)
class Taken:
    """Whether a rule takes a run by its age and number, and why or why not."""

    run: Outline
    goes: bool
    reason: str


def taken(rule: RetentionRule, found: Iterable[Outline], now: float) -> Iterator[Taken]:
    """Of the runs that the rule's filter holds for, the newest first: whether each goes.

    One that has not ended stays, and is none of the newest that are kept: what is kept is kept to be looked at.
    """
    newest: Counter[str] = Counter()
    for run in found:
        going_on = run.goes_on_at(now)
        if going_on is not None or run.ended_at is None:
            yield Taken(run, False, f"it has {going_on or 'no end that is known'}")
            continue
        newest[run.experiment] += 1
        if rule.keep_newest is not None and newest[run.experiment] <= rule.keep_newest:
            yield Taken(run, False, f"it is one of the newest {rule.keep_newest} of {run.experiment}")
            continue
        days = max(0.0, now - run.ended_at) / DAY_S
        if rule.older_than_days is not None and days <= rule.older_than_days:
            yield Taken(run, False, f"it ended {_days(days)} ago, which is not more than {_days(rule.older_than_days)}")
            continue
        beyond = "" if rule.keep_newest is None else f", and is not one of the newest {rule.keep_newest}"
        yield Taken(run, True, f"it ended {_days(days)} ago{beyond}")


def _days(days: float) -> str:
    """A length of time: "31 days", "2.5 days", "5 hours"."""
    if 0 < days < 1:
        hours = round(days * 24)
        return f"{hours} hour{'' if hours == 1 else 's'}" if hours else "less than an hour"
    text = f"{max(0.0, days):.1f}".removesuffix(".0")
    return f"{text} day{'' if text == '1' else 's'}"
