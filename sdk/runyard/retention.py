"""Retention: the workspace's rules by which old runs are archived, lose their files, or are deleted."""

from typing import TYPE_CHECKING, Any, List, Optional, Union

from runyard.errors import PlanChangedError, RetentionException
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.retention import (
    RetentionAction,
    RetentionOutcome,
    RetentionRequest,
    RetentionRule,
    RetentionRuleRecord,
)
from runyard.transport.base import url_path

if TYPE_CHECKING:
    from runyard.workspace import Workspace

_LONGEST_S = 3600.0  # the server answers when it has ended
_LOOKS = 5  # runs may change between a look and its application, in a busy workspace more than once


class Retention:
    """The rules of a workspace: ``ws.retention``. No rule does anything until it is applied.

    Never touched, whatever a rule says: a run that has not ended, one with the tag ``keep``, one from which a model was
    registered, and one whose files were given to a run that has not ended; and a run below which there is such a one.
    """

    def __init__(self, workspace: "Workspace") -> None:
        self._workspace = workspace

    def rules(self) -> List[RetentionRuleRecord]:
        """All rules, by name."""
        found = self._workspace.transport.call("GET", "/retention-rules")
        return [from_json(RetentionRuleRecord, each) for each in found]

    def add(
        self,
        name: str,
        action: Union[str, RetentionAction],
        where: str = "",
        older_than_days: Optional[float] = None,
        keep_newest: Optional[int] = None,
        daily: bool = False,
    ) -> RetentionRuleRecord:
        """Keeps a rule.

        Args:
            action: "archive", "files" (outputs and logs go, metrics stay) or "delete".
            where: a filter, as ``ws.search_runs`` takes: ``experiment = "mnist" and status = "Failed"``; default: all runs.
            older_than_days: since a run's end.
            keep_newest: how many runs of each experiment stay, of those that ``where`` holds for.
            daily: whether the server applies it by itself once a day, for the first time a day from now.
        Raises:
            RetentionException: the name is taken, or neither an age nor a number is given.
        """
        actions = [str(each) for each in RetentionAction]
        if str(action) not in actions:
            raise RetentionException("action is one of {}, not {!r}.".format(", ".join(actions), action))
        rule = RetentionRule(name, RetentionAction(str(action)), where, older_than_days, keep_newest, daily)
        said = self._workspace.transport.call("POST", "/retention-rules", json=to_json(rule))
        return from_json(RetentionRuleRecord, said)

    def remove(self, name: str) -> None:
        """Forgets a rule; what went by it stays away.

        Raises:
            UnknownRetentionRuleError: there is none of that name.
        """
        self._workspace.transport.call("DELETE", url_path("retention-rules", name))

    def apply(self, *names: str, dry_run: bool = False, plan: Optional[str] = None) -> RetentionOutcome:
        """Applies the rules of these names, or all of them.

        Args:
            dry_run: nothing is changed; the outcome says what would go, and why everything else is kept.
            plan: that of a dry run of the same rules (``outcome.plan``): what it has shown goes, and nothing else. By
                default it is decided now what goes.
        Raises:
            UnknownRetentionRuleError: there is none of that name.
            RetentionException: a plan for a dry run, or an empty one.
            PlanChangedError: other runs would go by now than those of ``plan``, or it is of other rules; nothing was
                done. Without a plan: they changed between each look and its application.
        """
        rules = list(names) or None
        if dry_run:
            if plan is not None:
                raise RetentionException(
                    "A dry run makes a plan and carries none out. Leave out the plan (--plan) to see what would go, or "
                    "dry_run (--dry-run) to do what the plan says."
                )
            return self._ask(RetentionRequest(rules, dry_run=True))
        if plan is not None:
            return self._ask(RetentionRequest(rules, plan=plan))
        for _ in range(_LOOKS - 1):
            try:
                return self._look_and_apply(rules)
            except PlanChangedError:
                continue
        return self._look_and_apply(rules)

    def _look_and_apply(self, rules: Optional[List[str]]) -> RetentionOutcome:
        # In two steps: a request that is sent again, because its answer was lost, takes no further runs.
        plan = self._ask(RetentionRequest(rules, dry_run=True)).plan
        return self._ask(RetentionRequest(rules, plan=plan))

    def _ask(self, request: RetentionRequest) -> RetentionOutcome:
        asked: Any = to_json(request)
        transport = self._workspace.transport
        with transport.request("POST", "/retention", json=asked, timeout_s=_LONGEST_S) as answer:
            return from_json(RetentionOutcome, answer.json())
