"""``runyard retention``: the rules by which old runs go, what they would do, and their application."""

import argparse
from typing import TYPE_CHECKING, Any, Dict, List

from runyard.cli.call import Call
from runyard.cli.output import Column, counted, local_time
from runyard.cli.parsing import Commands, whole_number

if TYPE_CHECKING:
    from runyard.protocol.retention import RetentionOutcome

_SHOWN = 50  # lines of each part; --json has them all
_DONE = {"archive": "archived", "files": "without files", "delete": "deleted"}


def add(commands: Commands) -> None:
    """Adds ``retention``."""
    noun = commands.noun(
        "retention",
        "rules by which old runs are archived, lose their files, or are deleted",
        "runyard retention add old-failures delete --where 'status = Failed' --older-than 30\n"
        "runyard retention add mnist archive --where 'experiment = mnist' --keep-newest 100\n"
        "runyard retention apply --dry-run",
    )
    noun.verb("list", list_, "the rules, and when each was applied last")
    parser = noun.verb(
        "add",
        add_rule,
        "keep a rule; it changes nothing until it is applied",
        "A run goes when the filter holds for it, it ended long enough ago, and it is none of the newest ones that stay.\n"
        "Never touched is a run that has not ended, that has the tag 'keep', from which a model was registered, or whose\n"
        "files were given to a run that has not ended; nor one below which there is such a run.",
        "runyard retention add big-files files --where 'tags.stage = draft' --older-than 14 --daily",
    )
    parser.add_argument("name", metavar="NAME", help="of the rule")
    parser.add_argument(
        "action",
        metavar="ACTION",
        choices=list(_DONE),
        help="archive (hide from lists), files (outputs and logs go, metrics stay) or delete",
    )
    parser.add_argument("--where", metavar="FILTER", default="", help="which runs, as in `runyard run list --where`")
    parser.add_argument("--older-than", metavar="DAYS", type=_days, help="only runs that ended longer ago than this")
    parser.add_argument(
        "--keep-newest",
        metavar="N",
        type=whole_number(0),
        help="of each experiment, this many runs that the filter holds for stay",
    )
    parser.add_argument(
        "--daily",
        action="store_true",
        help="the server applies it by itself once a day, for the first time a day from now",
    )
    parser = noun.verb("remove", remove, "forget a rule; what went by it stays away")
    parser.add_argument("name", metavar="NAME", help="the rule")
    parser = noun.verb(
        "apply",
        apply,
        "apply rules now, or see what they would do",
        "The files of deleted runs leave the disk with the next `runyard clean`.",
        "runyard retention apply --dry-run\nrunyard retention apply old-failures --yes",
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="the rules (default: all)")
    parser.add_argument(
        "--dry-run", action="store_true", help="only say what would go, and why everything else is kept"
    )
    parser.add_argument("--yes", action="store_true", help="do it")
    parser.add_argument("--plan", metavar="PLAN", help="of a dry run of the same rules: these runs go, and no others")
    noun.describe()


def _days(text: str) -> float:
    try:
        days = float(text[:-1] if text.endswith("d") else text)
    except ValueError:
        days = -1.0
    if not 0 <= days < 1e6:
        raise argparse.ArgumentTypeError("{!r} is no number of days, such as 30 or 0.5".format(text))
    return days


def list_(call: Call) -> int:
    """Lists the rules."""
    from runyard.protocol.codec import to_json

    found = call.workspace.retention.rules()
    if call.out.as_json:
        call.out.json([to_json(rule) for rule in found])
    elif not found:
        call.out.note("No retention rules. `runyard retention add --help` says how one is made.")
    else:
        columns = [
            Column("RULE"),
            Column("DOES"),
            Column("TO", shrinks=True),
            Column("DAILY"),
            Column("APPLIED"),
        ]
        rows = [
            (
                rule.name,
                str(rule.action),
                rule.takes,
                "daily" if rule.daily else "",
                local_time(rule.applied_at, seconds=False),
            )
            for rule in found
        ]
        call.out.table(columns, rows)
    return 0


def add_rule(call: Call) -> int:
    """Adds a rule."""
    from runyard.protocol.codec import to_json

    given = call.given
    rule = call.workspace.retention.add(
        given.name, given.action, given.where, given.older_than, given.keep_newest, given.daily
    )
    if call.out.as_json:
        call.out.json(to_json(rule))
        return 0
    call.out.say("{}: {} {}.".format(rule.name, rule.action, rule.takes))
    if rule.daily:
        call.out.say("The server applies it once a day, for the first time a day from now.")
    call.out.say("See what it would do now: runyard retention apply {} --dry-run".format(rule.name))
    return 0


def remove(call: Call) -> int:
    """Removes a rule."""
    call.workspace.retention.remove(call.given.name)
    said = {"removed": call.given.name}
    call.out.json(said) if call.out.as_json else call.out.say("{} is removed.".format(call.given.name))
    return 0


def apply(call: Call) -> int:
    """Applies rules, or says what that would do."""
    from runyard.errors import UserErrorException
    from runyard.protocol.codec import to_json

    given = call.given
    if not given.dry_run and not given.yes:
        raise UserErrorException("What goes by a rule may be gone for good. Say --dry-run to see it, --yes to do it.")
    outcome = call.workspace.retention.apply(*given.names, dry_run=given.dry_run, plan=given.plan)
    if call.out.as_json:
        call.out.json(to_json(outcome))
        return 0
    _write(call, outcome)
    if outcome.dry_run and outcome.gone:
        names = " ".join([*given.names, "--plan", outcome.plan, "--yes"])
        call.out.say("To do just this: runyard retention apply {}".format(names))
    return 0


def _write(call: Call, outcome: "RetentionOutcome") -> None:
    from runyard.progress import size_text

    if outcome.gone:
        columns = [
            Column("RUN"),
            Column("RULE", shrinks=True),
            Column("BECOMES"),
            Column("FILES", right=True),
            Column("BELOW", right=True),
            Column("SINCE", shrinks=True),
        ]
        rows: List[Any] = [
            (
                each.run_id,
                each.rule,
                _DONE.get(str(each.action), str(each.action)),
                size_text(each.size_bytes),
                len(each.below) or "",
                each.reason,
            )
            for each in outcome.gone[:_SHOWN]
        ]
        call.out.table(columns, rows)
        _write_rest(call, len(outcome.gone))
        call.out.say()
    if outcome.kept:
        call.out.table(
            [Column("KEPT"), Column("RULE", shrinks=True), Column("BECAUSE", shrinks=True)],
            [(each.run_id, each.rule, each.reason) for each in outcome.kept[:_SHOWN]],
        )
        _write_rest(call, outcome.kept_count)
        call.out.say()
    counts: Dict[str, int] = {}
    for each in outcome.gone:
        done = _DONE.get(str(each.action), str(each.action))
        counts[done] = counts.get(done, 0) + 1
    told = ", ".join("{} {}".format(counted(count, "run"), done) for done, count in sorted(counts.items()))
    would = "Would be: " if outcome.dry_run else ""
    call.out.say("{}{}; {} kept.".format(would, told or "no run goes", counted(outcome.kept_count, "run")))
    if outcome.more:
        call.out.say("{} more go when it is applied once more.".format(counted(outcome.more, "run")))
    if outcome.freed_bytes:
        text = "{} of files that nothing else has; `runyard clean` takes them off the disk."
        call.out.say(text.format(size_text(outcome.freed_bytes)))


def _write_rest(call: Call, count: int) -> None:
    if count > _SHOWN:
        call.out.say("... and {:,} more; --json names them.".format(count - _SHOWN))
