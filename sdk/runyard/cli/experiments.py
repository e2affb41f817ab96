"""``runyard experiment``: named series of runs."""

from typing import Any, Dict, List

from runyard.cli.call import Call
from runyard.cli.output import Column, counted, local_time, pairs_text
from runyard.cli.parsing import Commands, pair
from runyard.cli.runs import write_tags


def add(commands: Commands) -> None:
    """Adds ``experiment``."""
    noun = commands.noun(
        "experiment",
        "list, show, tag, archive and delete experiments",
        "runyard experiment list\nrunyard experiment archive first-tries",
    )
    parser = noun.verb("list", list_, "experiments, newest first")
    parser.add_argument("--archived", action="store_true", help="those that are archived")
    parser.add_argument("--all", action="store_true", help="archived or not")
    for name, command, summary in (
        ("show", show, "an experiment, and how its runs ended"),
        ("archive", archive, "hide an experiment from lists; its runs stay as they are"),
        ("delete", delete, "delete an experiment that has no runs"),
    ):
        parser = noun.verb(name, command, summary)
        parser.add_argument("name", metavar="NAME", help="the experiment")
    parser = noun.verb("restore", restore, "bring an archived experiment back")
    parser.add_argument("name", metavar="NAME", help="the experiment")
    parser.add_argument("--as", dest="new_name", metavar="NEW", help="a new name for it")
    parser = noun.verb("tag", tag, "set and remove tags of an experiment")
    parser.add_argument("name", metavar="NAME", help="the experiment")
    parser.add_argument("tags", metavar="KEY[=VALUE]", nargs="*", type=pair, help="a tag to set")
    parser.add_argument("--remove", metavar="KEY", action="append", default=[], help="a tag to remove; may be repeated")
    noun.describe()


def list_(call: Call) -> int:
    """Lists experiments."""
    view = "all" if call.given.all else "archived" if call.given.archived else "active"
    found: List[Dict[str, Any]] = call.transport.call("GET", "/experiments", query={"view": view})[::-1]
    if call.out.as_json:
        call.out.json(found)
    elif not found:
        call.out.note("No experiments.")
    else:
        rows = [
            (
                record["name"],
                local_time(record["created_at"], seconds=False),
                "archived" if record["archived_at"] else "",
                pairs_text(record["tags"]),
            )
            for record in found
        ]
        columns = [Column("EXPERIMENT"), Column("CREATED"), Column("", shrinks=True), Column("TAGS", shrinks=True)]
        call.out.table(columns, rows)
    return 0


def show(call: Call) -> int:
    """Shows one experiment."""
    from runyard.run import list_runs

    record = _found(call)
    counts: Dict[str, int] = {}
    newest = None
    for run in list_runs(call.workspace, None, experiment=record["name"]):
        newest = newest or run
        counts[run.status] = counts.get(run.status, 0) + 1
    if call.out.as_json:
        call.out.json(dict(record, runs=counts, newest_run=newest.id if newest else None))
        return 0
    listed = ", ".join("{} {}".format(count, call.out.status(status)) for status, count in sorted(counts.items()))
    call.out.fields(
        [
            ("experiment", record["name"]),
            ("id", record["id"]),
            ("created", local_time(record["created_at"])),
            ("archived", local_time(record["archived_at"])),
            ("tags", pairs_text(record["tags"])),
            ("runs", "{}{}".format(counted(sum(counts.values()), "run"), ": " + listed if listed else "")),
            ("newest", newest.id if newest else None),
        ]
    )
    return 0


def archive(call: Call) -> int:
    """Archives an experiment."""
    return _changed(call, {"archived": True}, "{} is archived.")


def restore(call: Call) -> int:
    """Restores an experiment."""
    return _changed(call, {"archived": False, "name": call.given.new_name}, "{} is back.")


def delete(call: Call) -> int:
    """Deletes an experiment."""
    from runyard.experiment import Experiment

    record = _found(call)
    Experiment.delete(call.workspace, record["name"])
    call.out.json(record) if call.out.as_json else call.out.say("{} is deleted.".format(record["name"]))
    return 0


def tag(call: Call) -> int:
    """Sets and removes tags."""
    changes = {"tags": dict(call.given.tags), "remove_tags": call.given.remove}
    write_tags(call, _change(call, changes)["tags"])
    return 0


def _changed(call: Call, changes: Dict[str, Any], text: str) -> int:
    record = _change(call, changes)
    call.out.json(record) if call.out.as_json else call.out.say(text.format(record["name"]))
    return 0


def _change(call: Call, changes: Dict[str, Any]) -> Any:
    from runyard.transport.base import url_path

    return call.transport.call("PATCH", url_path("experiments", call.given.name), json=changes)


def _found(call: Call) -> Any:
    """The experiment's record. Unlike ``Experiment(ws, name)`` this makes none."""
    from runyard.transport.base import url_path

    return call.transport.call("GET", url_path("experiments", call.given.name))
