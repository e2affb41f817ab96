"""What retention rules would do: decided at one moment, from one reading, and named so that it can be asked for."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite

from sqlalchemy import Connection

from runyard.errors import PlanChangedError, RunException
from runyard.protocol.retention import (
    KEEP,
    RetentionAction,
    RetentionOutcome,
    RetentionRule,
    RetentionRuleRecord,
    RetentionVerdict,
)
from runyard_server.domain.filters.parser import parse
from runyard_server.domain.retention import DAY_S, Outline, Taken, taken
from runyard_server.domain.run_types import LOGGED_MODEL
from runyard_server.records import files as file_records
from runyard_server.records import retention as records
from runyard_server.records import run_table
from runyard_server.records.portions import portions

MOST_NAMED = 10_000  # kept runs that a plan names

# What more than one rule takes goes by the one that leaves least of it.
_STRENGTH = (RetentionAction.DELETE, RetentionAction.FILES, RetentionAction.ARCHIVE)


@dataclass
class Plan:
    """What is to be done.

    Attributes:
        at: when it was decided: ages are of that moment.
    """

    at: float
    rules: Mapping[str, RetentionRuleRecord]
    gone: list[RetentionVerdict] = field(default_factory=list)
    kept: list[RetentionVerdict] = field(default_factory=list)
    kept_count: int = 0
    more: int = 0
    freed_bytes: int = 0

    @property
    def name(self) -> str:
        """Says the moment, and is of these rules and these runs alone."""
        rules = [[rule.name, rule.created_at] for rule in self.rules.values()]
        said = json.dumps([rules, [[verdict.run_id, verdict.rule] for verdict in self.gone]])
        return f"{self.at!r}-{hashlib.sha256(said.encode()).hexdigest()[:32]}"

    def keep(self, verdict: RetentionVerdict) -> None:
        """Notes one that stays."""
        self.kept_count += 1
        if len(self.kept) < MOST_NAMED:
            self.kept.append(verdict)

    def outcome(self, dry_run: bool, name: str) -> RetentionOutcome:
        """As it is told to whoever asked."""
        return RetentionOutcome(dry_run, self.gone, self.kept, self.kept_count, self.freed_bytes, self.more, name)


def moment_of(name: str, now: float) -> float:
    """When a plan of that name was decided.

    Raises:
        PlanChangedError: it is no name of a plan, or that of one which is older than a day.
    """
    said = name.rpartition("-")[0]
    try:
        at = float(said)
    except ValueError:
        at = float("nan")
    if not isfinite(at) or not now - DAY_S <= at <= now:
        raise PlanChangedError(
            f"{name[:100]!r} names no plan of the last 24 hours; nothing was done. Look at what would go now: a dry run "
            "shows it, and names its plan."
        )
    return at


def make(
    connection: Connection,
    rules: Sequence[RetentionRuleRecord],
    at: float,
    most_at_once: int,
    given: Mapping[str, str],
    stopped: Callable[[], bool],
) -> Plan:
    """Decides on every run that the rules are about.

    Args:
        most_at_once: this many of those that go are in the plan, the oldest first.
        given: the runs whose files somebody needs still, see ``GivenRuns.users``.
        stopped: is asked between one part of the runs and the next; what has been decided by then is the plan.
    """
    in_order = sorted(rules, key=lambda rule: (_STRENGTH.index(rule.action), rule.name))
    plan = Plan(at, {rule.name: rule for rule in in_order})
    going: dict[str, RetentionVerdict] = {}
    kept: dict[str, RetentionVerdict] = {}
    for rule in plan.rules.values():
        for verdict, goes in _verdicts(connection, rule, at, going, given, stopped):
            if goes:
                going[verdict.run_id] = verdict
            else:
                kept.setdefault(verdict.run_id, verdict)
    for run_id, verdict in kept.items():
        if run_id not in going:  # by another rule
            plan.keep(verdict)
    oldest = sorted(going.values(), key=lambda verdict: (verdict.ended_at or 0.0, verdict.run_id))
    plan.gone = oldest[:most_at_once]
    plan.more = len(oldest) - len(plan.gone)
    if not stopped():
        plan.freed_bytes = freed_bytes(connection, plan.gone)
    return plan


def check_again(
    connection: Connection, rule: RetentionRuleRecord, run_id: str, now: float, given: Mapping[str, str]
) -> None:
    """Raises RunException where the run, as it is at this moment, is none that may go by the rule."""
    if not run_table.is_matching(connection, run_id, parse(rule.where), _view(rule), now):
        raise RunException(f"the filter of {rule.name} does not hold for it any more")
    found = records.outlines(connection, [run_id])
    keepers = _keepers(connection, rule.action, found, records.below(connection, [run_id]), given, now)
    if keepers:
        raise RunException(keepers[run_id])


def emptied(connection: Connection, run_id: str) -> list[str]:
    """The run and those below it whose files go with its own: a logged model is its files."""
    lower = records.below(connection, [run_id])[run_id]
    return [run_id, *(run.run_id for run in lower if _loses_files(RetentionAction.FILES, run))]


def _verdicts(
    connection: Connection,
    rule: RetentionRuleRecord,
    at: float,
    going: Mapping[str, RetentionVerdict],
    given: Mapping[str, str],
    stopped: Callable[[], bool],
) -> Iterator[tuple[RetentionVerdict, bool]]:
    """Of each run that the rule is about: what becomes of it, and whether it goes. Who goes already is passed over."""
    ids = run_table.matching(connection, parse(rule.where), _view(rule), at)
    # A logged model is kept as a run, but is none to people: it stays, and counts for nothing.
    found = [run for run in records.outlines(connection, ids) if run.type != LOGGED_MODEL]
    decided = [each for each in taken(rule, found, at) if each.run.run_id not in going]
    for some in portions(decided):
        if stopped():
            return
        yield from _looked_at(connection, rule, at, some, given)


def _looked_at(
    connection: Connection, rule: RetentionRuleRecord, at: float, decided: Sequence[Taken], given: Mapping[str, str]
) -> Iterator[tuple[RetentionVerdict, bool]]:
    goers = [each.run for each in decided if each.goes]
    below = records.below(connection, [run.run_id for run in goers])
    keepers = _keepers(connection, rule.action, goers, below, given, at)
    everyone = [run_id for top, lower in below.items() for run_id in (top, *(run.run_id for run in lower))]
    sizes = records.sizes(connection, everyone)
    for run, goes, reason in ((each.run, each.goes, each.reason) for each in decided):
        lower = below.get(run.run_id, [])
        size = sum(sizes.get(each.run_id, 0) for each in [run, *lower] if _loses_files(rule.action, each))
        if rule.action is RetentionAction.FILES and goes and size == 0:
            continue  # there is nothing of it that could go
        if run.run_id in keepers:
            goes, reason = False, keepers[run.run_id]
        yield (
            RetentionVerdict(
                run_id=run.run_id,
                experiment=run.experiment,
                number=run.number,
                rule=rule.name,
                action=rule.action,
                reason=reason,
                size_bytes=size,
                display_name=run.display_name,
                ended_at=run.ended_at,
                below=[each.run_id for each in lower],
            ),
            goes,
        )


def _view(rule: RetentionRule) -> str:
    return "active" if rule.action is RetentionAction.ARCHIVE else "all"


def _loses_files(action: RetentionAction, run: Outline) -> bool:
    return action is not RetentionAction.FILES or run.type != LOGGED_MODEL


def _keepers(
    connection: Connection,
    action: RetentionAction,
    found: Sequence[Outline],
    below: Mapping[str, Sequence[Outline]],
    given: Mapping[str, str],
    at: float,
) -> dict[str, str]:
    """What keeps those of the runs that no rule may take, whatever it says: because of themselves or of one below them."""
    everyone = [run.run_id for top in found for run in (top, *below[top.run_id])]
    kept = records.tagged_to_be_kept(connection, everyone)
    models = records.registered_models(connection, everyone)
    reasons: dict[str, str] = {}
    for top in found:
        for run in (top, *below[top.run_id]):
            it = "it" if run is top else f"{run.run_id}, below it,"
            going_on = run.goes_on_at(at)
            reason = None
            if going_on is not None:
                reason = f"{it} has {going_on}"
            elif run.run_id in kept:
                reason = f"{it} has the tag {KEEP}"
            elif run.run_id in models:
                reason = f"the model {models[run.run_id]} was registered from {it.rstrip(',')}"
            elif run.run_id in given:
                reason = f"{given[run.run_id]}, which has not ended, was given its files"
            elif action is RetentionAction.DELETE and run is not top and _is_logged_model(run):
                reason = f"it logged the model {run.display_name or run.run_id} with MLflow"
            if reason is not None:
                reasons[top.run_id] = reason
                break
    return reasons


def _is_logged_model(run: Outline) -> bool:
    return run.type == LOGGED_MODEL and run.archived_at is None


def freed_bytes(connection: Connection, gone: Sequence[RetentionVerdict]) -> int:
    """The size of the contents that nothing has any more once these runs are gone."""
    emptied: set[str] = set()
    deleted: set[str] = set()
    for verdict in gone:
        family = [verdict.run_id, *verdict.below]
        if verdict.action is RetentionAction.DELETE:
            deleted.update(family)
        elif verdict.action is RetentionAction.FILES:
            emptied.update(family)
    logged = {run.run_id for run in records.outlines(connection, sorted(emptied)) if run.type == LOGGED_MODEL}
    return file_records.freed_bytes(connection, (emptied - logged) | deleted, deleted)
