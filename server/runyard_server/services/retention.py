"""Retention: the workspace's rules by which runs go, what they would do now, and their application.

An application carries out a plan that somebody was shown. It goes from run to run, each in a transaction of its own, in
which it looks at that run again: what somebody has tagged, registered or given to another run meanwhile stays.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import isfinite

from sqlalchemy import Connection

from runyard.errors import (
    LimitReachedError,
    PlanChangedError,
    RetentionException,
    RunException,
    UnknownRetentionRuleError,
    UnknownRunError,
)
from runyard.names import check_retention_rule_name
from runyard.protocol.retention import (
    RetentionAction,
    RetentionOutcome,
    RetentionRule,
    RetentionRuleRecord,
    RetentionVerdict,
)
from runyard_server.domain.clock import Clock
from runyard_server.domain.filters.parser import parse
from runyard_server.domain.retention import DAY_S
from runyard_server.records import files as file_records
from runyard_server.records import retention as records
from runyard_server.records import runs as run_records
from runyard_server.records.engine import Database
from runyard_server.services import retention_plan
from runyard_server.services.deletion import DeletionService
from runyard_server.services.given_runs import GivenRuns
from runyard_server.services.hub import Hub
from runyard_server.services.retention_plan import Plan

MOST_AT_ONCE = 10_000  # runs that one application takes
MOST_RULES = 100
MOST_KEPT = 1_000_000_000
MOST_SHOWN = 200  # runs of each part of a preview
PREVIEW_SHARE = 20  # a preview is shown again for so many times as long as making it took,
PREVIEW_LONGEST_S = 60.0  # but no longer than this
WAIT_S = 30.0  # for the end of an application that is under way; it holds a thread
AGAIN_S = 5  # then whoever asked is to come again, as clients do by themselves


@dataclass(frozen=True)
class Preview:
    """What one rule would do, short enough for a page: the counts are of all, the runs are the first of each part.

    Attributes:
        at: the moment that it is of.
        plan: by this name it can be applied.
        more: how many go beyond those that one application takes.
    """

    at: float
    plan: str
    gone: Sequence[RetentionVerdict]
    gone_count: int
    size_bytes: int
    freed_bytes: int
    more: int
    kept: Sequence[RetentionVerdict]
    kept_count: int


class RetentionService:
    """Keeps rules and applies them.

    Args:
        clear: removes what lies in folders of a run, as for a ``DeletionService``.
        wait_s: how long a request waits for the plan that it names and that is under way already.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        hub: Hub,
        deletion: DeletionService,
        given: GivenRuns,
        clear: Callable[[str], None],
        most_at_once: int = MOST_AT_ONCE,
        wait_s: float = WAIT_S,
    ) -> None:
        self._database = database
        self._clock = clock
        self._hub = hub
        self._deletion = deletion
        self._given = given
        self._clear = clear
        self._most_at_once = most_at_once
        self._wait_s = wait_s
        self._turn = threading.Condition()
        self._under_way: str | None = None  # the plan that is carried out; "" where it was not named
        self._done: RetentionOutcome | None = None  # by the plan that was applied last
        self._previewing = threading.Lock()
        # By the rule's name: the rule that it is of, and until when it is shown again.
        self._previews: dict[str, tuple[RetentionRuleRecord, Preview, float]] = {}

    # The rules

    def list(self) -> Sequence[RetentionRuleRecord]:
        """Every rule, by name."""
        with self._database.read() as connection:
            return records.list_all(connection)

    def get(self, name: str) -> RetentionRuleRecord:
        """Raises UnknownRetentionRuleError where there is none of that name."""
        with self._database.read() as connection:
            return _found(connection, name)

    def add(self, rule: RetentionRule, by: str) -> RetentionRuleRecord:
        """Keeps a rule. It changes nothing until it is applied.

        Raises:
            RetentionException: a name against the rules or one that is taken, neither an age nor a number of runs to
                keep, or a number out of range.
            FilterError: its filter is wrong.
        """
        check_retention_rule_name(rule.name)
        _check(rule)
        now = self._clock.now()
        record = RetentionRuleRecord(**{**rule.__dict__, "where": rule.where.strip()}, created_at=now, created_by=by)
        with self._database.write() as connection:
            if records.find(connection, rule.name) is not None:
                raise RetentionException(
                    f"There is a retention rule {rule.name!r} already. Remove it first, or choose another name."
                )
            if len(records.list_all(connection)) >= MOST_RULES:
                raise RetentionException(f"A workspace has at most {MOST_RULES} retention rules. Remove one first.")
            records.add(connection, record)
        return record

    def remove(self, name: str) -> None:
        """Forgets a rule; what went by it stays away. Raises UnknownRetentionRuleError where there is none."""
        with self._database.write() as connection:
            _found(connection, name)
            records.remove(connection, name)

    # What they would do

    def look(self, names: Sequence[str] | None) -> RetentionOutcome:
        """What the rules of these names, all of them where None are named, would do now: a dry run.

        Raises:
            UnknownRetentionRuleError: no such rule.
        """
        plan = self._plan(names, self._clock.now())
        return plan.outcome(True, plan.name)

    def preview(self, name: str) -> Preview:
        """What one rule would do, as of now or of a moment ago.

        However many people look at it, one plan at a time is made for them, and making plans takes a small part of the
        server's time.

        Raises:
            UnknownRetentionRuleError: no such rule.
        """
        with self._previewing:
            rule, now = self.get(name), self._clock.now()
            here = self._previews.get(name)
            if here is not None and here[0] == rule and here[1].at <= now < here[2]:
                return here[1]
            made = _preview(self._plan([name], now))
            took = max(0.0, self._clock.now() - now)
            until = now + took + min(PREVIEW_LONGEST_S, PREVIEW_SHARE * took)
            self._previews = {key: kept for key, kept in self._previews.items() if kept[2] > now}
            self._previews[name] = (rule, made, until)
            return made

    # Their application

    def apply(self, names: Sequence[str] | None, plan: str, by: str) -> RetentionOutcome:
        """Carries out the plan of that name, which ``look`` or ``preview`` of the same rules has shown.

        Asked for once more, for as long as no other plan was applied, it gives the same answer and does nothing.

        Raises:
            UnknownRetentionRuleError: no such rule; nothing is done.
            PlanChangedError: other runs would go by now, or the plan is older than a day; nothing is done.
            RetentionException: another plan is carried out at this moment.
            LimitReachedError: this one is, and was not done when the time to wait was over.
        """
        with self._turn_of(plan):
            if self._done is not None and self._done.plan == plan:
                return self._done
            made = self._plan(names, retention_plan.moment_of(plan, self._clock.now()))
            if made.name != plan:
                self._forget_previews()
                raise PlanChangedError(
                    "Nothing was done: other runs would go by now than those of the plan that was shown, or the plan "
                    "is of other rules than are named now. Runs have changed or gone since, by this very plan where "
                    "its application was cut off; or its dry run named other rules. Look at what would go now: a dry "
                    "run shows it, and names its plan."
                )
            done = self._carry_out(made, by, lambda: False)
            self._done = done.outcome(False, plan)
            return self._done

    def apply_now(self, names: Sequence[str], by: str, stopped: Callable[[], bool]) -> RetentionOutcome:
        """Decides and carries it out, at one go: for the server itself, which nobody asks twice.

        Args:
            stopped: is asked between one run and the next whether to end here.
        Raises: as ``apply``.
        """
        with self._turn_of(""):
            plan = self._plan(names, self._clock.now(), stopped)
            return self._carry_out(plan, by, stopped).outcome(False, plan.name)

    @contextmanager
    def _turn_of(self, plan: str) -> Iterator[None]:
        """One plan is carried out at a time. Who asks for one that is under way waits for its end."""
        with self._turn:
            if plan and not self._turn.wait_for(lambda: self._under_way != plan, self._wait_s):
                raise LimitReachedError(
                    "This plan is under way already. Ask for it again: once it is done you get what it did. Clients of "
                    "runyard ask again by themselves.",
                    details={"retry_after_s": AGAIN_S},
                )
            if self._under_way is not None:
                raise RetentionException(
                    "Retention rules are applied already. Wait for the end of that, then ask again."
                )
            self._under_way = plan
        try:
            yield
        finally:
            with self._turn:
                self._under_way = None
                self._turn.notify_all()

    def due(self) -> Sequence[str]:
        """The names of the daily rules that were added, or applied last, a day ago or more."""
        since = self._clock.now() - DAY_S
        return [rule.name for rule in self.list() if rule.daily and (rule.applied_at or rule.created_at) <= since]

    def _plan(self, names: Sequence[str] | None, at: float, stopped: Callable[[], bool] = lambda: False) -> Plan:
        with self._database.read() as connection:
            rules = (
                records.list_all(connection)
                if names is None
                else [_found(connection, name) for name in dict.fromkeys(names)]
            )
            given = self._given.users(connection)
            return retention_plan.make(connection, rules, at, self._most_at_once, given, stopped)

    def _carry_out(self, plan: Plan, by: str, stopped: Callable[[], bool]) -> Plan:
        done = replace(plan, gone=[], kept=[*plan.kept])
        stayed: list[RetentionVerdict] = []
        for place, verdict in enumerate(plan.gone):
            if stopped():
                stayed += plan.gone[place:]
                done.more += len(plan.gone) - place
                break
            try:
                self._act(plan.rules[verdict.rule], verdict, by)
            except UnknownRunError:  # somebody else has deleted it meanwhile
                continue
            except RunException as fault:  # something keeps it by now
                stayed.append(verdict)
                done.keep(replace(verdict, reason=fault.message))
                continue
            done.gone.append(verdict)
        if stayed:  # what these have, whoever else of the plan had it, is not freed
            with self._database.read() as connection:
                done.freed_bytes = max(0, plan.freed_bytes - retention_plan.freed_bytes(connection, stayed))
        if not stopped() and not done.more:  # else they are due until all is done
            with self._database.write() as connection:
                records.set_applied(connection, list(plan.rules), self._clock.now())
        self._forget_previews()
        return done

    def _forget_previews(self) -> None:
        with self._previewing:
            self._previews.clear()

    def _act(self, rule: RetentionRuleRecord, verdict: RetentionVerdict, by: str) -> None:
        def check(connection: Connection) -> None:
            if records.find(connection, rule.name) is None:
                raise RunException(f"the rule {rule.name} was removed")
            given = self._given.users(connection)
            retention_plan.check_again(connection, rule, verdict.run_id, self._clock.now(), given)

        if rule.action is RetentionAction.DELETE:
            self._deletion.delete(verdict.run_id, by, reason=f"by the retention rule {rule.name}", check=check)
            return
        now = self._clock.now()
        emptied: Sequence[str] = ()
        with self._database.write() as connection:
            run_records.get(connection, verdict.run_id, lock=True)
            check(connection)
            if rule.action is RetentionAction.ARCHIVE:
                run_records.change(connection, verdict.run_id, archived_at=now)
            else:
                emptied = retention_plan.emptied(connection, verdict.run_id)
            for run_id in emptied:
                file_records.remove_of_run(connection, run_id)
                run_records.change(connection, run_id, files_removed_at=now)
        for run_id in emptied:
            self._clear(run_id)
        self._hub.publish(verdict.run_id)


def _preview(plan: Plan) -> Preview:
    return Preview(
        at=plan.at,
        plan=plan.name,
        gone=plan.gone[:MOST_SHOWN],
        gone_count=len(plan.gone),
        size_bytes=sum(verdict.size_bytes for verdict in plan.gone),
        freed_bytes=plan.freed_bytes,
        more=plan.more,
        kept=plan.kept[:MOST_SHOWN],
        kept_count=plan.kept_count,
    )


def _found(connection: Connection, name: str) -> RetentionRuleRecord:
    found = records.find(connection, name)
    if found is None:
        there = ", ".join(rule.name for rule in records.list_all(connection)) or "none"
        raise UnknownRetentionRuleError(f"There is no retention rule {name[:100]!r}. There are: {there}.")
    return found


def _check(rule: RetentionRule) -> None:
    parse(rule.where)
    if rule.older_than_days is None and rule.keep_newest is None:
        raise RetentionException(
            "A retention rule says how old a run must be, how many of the newest ones stay, or both: give "
            "older_than_days (--older-than) or keep_newest (--keep-newest)."
        )
    if rule.older_than_days is not None and not (isfinite(rule.older_than_days) and rule.older_than_days >= 0):
        raise RetentionException(f"older_than_days is 0 or more, not {rule.older_than_days:g}.")
    if rule.keep_newest is not None and not 0 <= rule.keep_newest <= MOST_KEPT:
        raise RetentionException(f"keep_newest is 0 to {MOST_KEPT:,}, not {rule.keep_newest}.")
