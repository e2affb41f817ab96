"""Retention rules, and what an application of them did or would do: which runs go, and why each other one is kept."""

from dataclasses import dataclass, field
from enum import Enum
from typing import List, Optional

KEEP = "keep"  # a run with a tag of this name is never touched by a rule


class RetentionAction(str, Enum):
    """What becomes of a run that a rule takes."""

    ARCHIVE = "archive"  # it is hidden from lists
    FILES = "files"  # its outputs and logs go; its metrics, arguments and tags stay
    DELETE = "delete"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class RetentionRule:
    """Which runs go, and how. A rule has an age, a number of runs to keep, or both: then a run goes by both of them.

    Attributes:
        where: a filter, as runs are found by; "" for all runs.
        older_than_days: since their end.
        keep_newest: how many of those that ``where`` holds for stay, of each experiment.
        daily: whether the server applies it by itself, once a day; otherwise somebody has to ask for it.
    """

    name: str
    action: RetentionAction
    where: str = ""
    older_than_days: Optional[float] = None
    keep_newest: Optional[int] = None
    daily: bool = False

    @property
    def takes(self) -> str:
        """Which runs it takes, as a person says it."""
        parts = ["runs"]
        if self.where:
            parts.append("with {}".format(self.where))
        if self.older_than_days == 0:
            parts.append("that have ended")
        elif self.older_than_days is not None:
            days = "{:g} day{}".format(self.older_than_days, "" if self.older_than_days == 1 else "s")
            parts.append("that ended more than {} ago".format(days))
        if self.keep_newest is not None:
            parts.append("but the newest {:,} of each experiment".format(self.keep_newest))
        return " ".join(parts)


@dataclass(frozen=True)
class RetentionRuleRecord(RetentionRule):
    """A rule of the workspace. ``applied_at`` is None until it was applied for the first time."""

    created_at: float = 0.0
    created_by: str = ""
    applied_at: Optional[float] = None


@dataclass(frozen=True)
class RetentionRequest:
    """Applies the rules of these names, all of them where None are named; a dry run changes nothing.

    Attributes:
        plan: what a dry run has shown, by the name that it gave; an application carries out that, and nothing else.
    """

    rules: Optional[List[str]] = None
    dry_run: bool = False
    plan: Optional[str] = None


@dataclass(frozen=True)
class RetentionVerdict:
    """A run that a rule takes, or that its filter holds for and that is kept.

    Attributes:
        reason: why it goes, or why it is kept.
        size_bytes: of its files and of those of the runs below it.
        below: the runs below it, which share its lot.
    """

    run_id: str
    experiment: str
    number: int
    rule: str
    action: RetentionAction
    reason: str
    size_bytes: int = 0
    display_name: Optional[str] = None
    ended_at: Optional[float] = None
    below: List[str] = field(default_factory=list)


@dataclass(frozen=True)
class RetentionOutcome:
    """What an application did, or (``dry_run``) would do.

    Attributes:
        gone: the runs that were archived, lost their files or were deleted, the oldest first.
        kept: those that a rule's filter holds for and that stay, with the reason; the first of ``kept_count``.
        freed_bytes: contents of ``gone`` that nothing else has any more; ``runyard clean`` takes them off the disk.
        more: how many runs there are beyond those that one application takes.
        plan: names these rules, this moment and these runs. An application by that name takes these runs; none at all
            where the rules mean others by then, as when one was tagged ``keep``. What keeps a run while the application
            goes on is kept. Asked for once more, it takes no others.
    """

    dry_run: bool
    gone: List[RetentionVerdict]
    kept: List[RetentionVerdict]
    kept_count: int = 0
    freed_bytes: int = 0
    more: int = 0
    plan: str = ""
