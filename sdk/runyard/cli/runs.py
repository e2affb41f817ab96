"""``runyard run`` and ``why``: look at runs, follow them, end them."""

import itertools
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Sequence

from runyard.cli.call import Call
from runyard.cli.output import Column, counted, duration, harmless, local_time, pairs_text, status_column
from runyard.cli.parsing import Commands, add_pairs, pair, whole_number

if TYPE_CHECKING:
    from runyard.run import Run

_RUN = "the run's id, its beginning or end, or @last"
_LOGGED_MODEL = "mlflow.model"  # the type of a run that is a model which another one logged
_MOST_BELOW, _NAMED_BELOW = 100, 5  # of what goes with a run, as many are looked at, and named


def add(commands: Commands) -> None:
    """Adds ``run`` and ``why``."""
    parser = commands.verb("why", why, "what a run waits for, or how it ended", examples="runyard why @last")
    parser.add_argument("run", metavar="RUN", help=_RUN)
    noun = commands.noun(
        "run",
        "list, show, follow, check, cancel, archive and delete runs",
        "runyard run list --status running\n"
        "runyard run logs -f @last\n"
        "runyard run download @last outputs/model --to .\n"
        "runyard run list --json | jq -r '.[].id'",
    )
    _add_list(noun)
    _add_looking(noun)
    _add_fetching(noun)
    _add_changing(noun)
    noun.describe()


def _add_list(noun: Commands) -> None:
    from runyard.protocol.status import RunStatus

    statuses = [status.value for status in RunStatus]
    parser = noun.verb("list", list_, "runs, newest first", examples="runyard run list --experiment mnist --tag final")
    parser.add_argument("--experiment", metavar="NAME", help="of this experiment")
    parser.add_argument(
        "--status",
        metavar="STATUS",
        type=str.lower,
        choices=["unfinished"] + [status.lower() for status in statuses],
        help="in this status ({}), or 'unfinished' for all that go on".format(", ".join(statuses)),
    )
    parser.add_argument("--target", metavar="NAME", help="on this compute target")
    add_pairs(
        parser, "--tag", "with this tag, whatever its value or with just this one; may be repeated", "KEY[=VALUE]"
    )
    parser.add_argument(
        "--where",
        metavar="FILTER",
        help="for which this holds: 'status = Completed and metrics.loss < 0.1 and tags.team = \"a\" and age < 7d'",
    )
    parser.add_argument("--sort", metavar="FIELD", help="metrics.loss, or 'metrics.loss desc' for the greatest first")
    parser.add_argument(
        "--columns", metavar="FIELDS", help="show these, with a comma between: metrics.loss,arguments.lr,tags.team"
    )
    parser.add_argument("--children", action="store_true", help="child runs too")
    parser.add_argument("--archived", action="store_true", help="those that are archived")
    parser.add_argument("--all", action="store_true", help="archived or not")
    parser.add_argument("-n", "--limit", metavar="N", type=whole_number(1), default=20, help="how many (default: 20)")


def _add_looking(noun: Commands) -> None:
    parser = noun.verb(
        "show", show, "everything about a run: status, times, error, tags, its story, its page's address"
    )
    parser.add_argument("run", metavar="RUN", help=_RUN)
    parser = noun.verb(
        "logs",
        logs,
        "print a run's log, or follow it",
        "Without NAME: the environment's build, the preparation and what the script printed. Of several ranks each has\n"
        "a log of its own; -f shows their lines together as they come, each with its rank's name: [1] or [worker_0].",
        "runyard run logs -f @last\nrunyard run logs @last --list\nrunyard run logs @last logs/mine.txt --tail 20\n"
        "runyard run logs -f @last --rank 1",
    )
    parser.add_argument("run", metavar="RUN", help=_RUN)
    one = parser.add_mutually_exclusive_group()
    one.add_argument("name", metavar="NAME", nargs="?", help="one log alone, as --list names it")
    one.add_argument("--rank", metavar="RANK", help="what this rank prints alone: 1, or worker_0")
    parser.add_argument("-f", "--follow", action="store_true", help="go on printing until the run's end")
    parser.add_argument("--tail", metavar="LINES", type=whole_number(0), help="only the last lines")
    parser.add_argument("--list", action="store_true", help="names and sizes of the logs instead")
    parser = noun.verb(
        "stacks",
        stacks,
        "where each process of a run is in its code just now",
        "Takes the Python stack of every rank, on every node, while the run goes on; it is kept among the run's logs\n"
        "(azureml-logs/stacks/). Exit code 1 where a rank gave no answer.",
        "runyard run stacks @last\nrunyard run stacks @last --rank 1",
    )
    parser.add_argument("run", metavar="RUN", help=_RUN)
    parser.add_argument("--rank", metavar="RANK", help="this rank's alone: 1, or worker_0")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=whole_number(1), default=30, help="how long to wait (default: 30)"
    )
    parser = noun.verb(
        "metrics",
        metrics,
        "what a run logged: a table of metrics, or the history of one",
        examples="runyard run metrics @last\nrunyard run metrics @last --name loss --last 10",
    )
    parser.add_argument("run", metavar="RUN", help=_RUN)
    parser.add_argument("--name", metavar="METRIC", help="every value of this one")
    parser.add_argument("--last", metavar="N", type=whole_number(1), help="with --name: only the last values")
    parser = noun.verb(
        "verify",
        verify,
        "prove that what the run wrote is what is stored",
        "Compares what every writer of the run counted with what is stored, and reads and hashes every file again.\n"
        "Exit code 1 where something is missing or damaged.",
    )
    parser.add_argument("run", metavar="RUN", help=_RUN)


def _add_fetching(noun: Commands) -> None:
    parser = noun.verb("files", files, "a run's files: outputs, logs, uploads")
    parser.add_argument("run", metavar="RUN", help=_RUN)
    parser.add_argument("prefix", metavar="PREFIX", nargs="?", help="only those whose path begins with it")
    parser = noun.verb(
        "download",
        download,
        "copy a run's files to this machine",
        examples="runyard run download @last\nrunyard run download @last outputs/model --to .",
    )
    parser.add_argument("run", metavar="RUN", help=_RUN)
    parser.add_argument("names", metavar="PATH", nargs="*", help="files and folders of the run (default: all)")
    parser.add_argument("--to", metavar="DIR", help="where to (default: a folder named by the run's id)")


def _add_changing(noun: Commands) -> None:
    parser = noun.verb(
        "cancel",
        cancel,
        "end runs: SIGTERM, some time to save, then SIGKILL",
        examples="runyard run cancel @last --wait",
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", help=_RUN)
    parser.add_argument("--wait", action="store_true", help="return only when they have ended")
    parser = noun.verb("tag", tag, "set and remove tags of a run", examples="runyard run tag @last final kind=cnn")
    parser.add_argument("run", metavar="RUN", help=_RUN)
    parser.add_argument("tags", metavar="KEY[=VALUE]", nargs="*", type=pair, help="a tag to set")
    parser.add_argument("--remove", metavar="KEY", action="append", default=[], help="a tag to remove; may be repeated")
    for name, command, summary in (
        ("archive", archive, "hide runs from lists; nothing of them is removed"),
        ("restore", restore, "bring archived runs back into lists"),
    ):
        parser = noun.verb(name, command, summary)
        parser.add_argument("runs", metavar="RUN", nargs="+", help=_RUN)
    parser = noun.verb(
        "delete",
        delete,
        "delete runs that have ended, with the runs below them, for good",
        "Their metrics, logs and files go; the disk is freed by `runyard clean`. A run whose models are registered is\n"
        "kept, unless --keep-models is said: then they stay, whole, without it. One that logged models with MLflow is\n"
        "kept, unless --with-logged-models is said: then they go with it. That there was a run, and who deleted it,\n"
        "stays known (`runyard run deleted`), and its id is never used again.",
        "runyard run delete @last --yes",
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", help=_RUN)
    parser.add_argument("--keep-models", action="store_true", help="registered models stay without their run")
    parser.add_argument("--with-logged-models", action="store_true", help="models logged with MLflow go with their run")
    parser.add_argument("--yes", action="store_true", help="really do it")
    parser = noun.verb("deleted", deleted, "runs that were deleted, when and by whom, the last one first")
    parser.add_argument("-n", "--limit", metavar="N", type=whole_number(1), default=20, help="how many (default: 20)")
    parser = noun.verb(
        "wait",
        wait,
        "wait for a run's end; the exit code tells it",
        "Exit code 0 if the run completed, 1 if it failed, 5 if it was canceled.",
    )
    parser.add_argument("run", metavar="RUN", help=_RUN)
    parser.add_argument("-f", "--follow", action="store_true", help="print its log while waiting")


# Looking


def list_(call: Call) -> int:
    """Lists runs."""
    from runyard.run import list_runs

    given = call.given
    if given.where or given.sort or given.columns:
        return _list_table(call)
    wanted: Dict[str, Any] = {"experiment": given.experiment, "target": given.target, "status": _statuses(given.status)}
    wanted["include_children"] = given.children
    wanted["view"] = _view(given)
    if given.tag:
        wanted["tags"] = {key: value or None for key, value in given.tag}
    found: List[Dict[str, Any]] = []
    more = False
    for run in list_runs(call.workspace, None, **wanted):
        more = len(found) == given.limit
        if more:
            break
        found.append(run._record())
    if call.out.as_json:
        call.out.json(found)
        return 0
    if not found:
        call.out.note(
            "No runs{}.".format(
                " like that"
                if any(value for key, value in wanted.items() if key != "view")
                else " yet: `runyard submit SCRIPT`"
            )
        )
        return 0
    call.out.table(_COLUMNS, [_row(record) for record in found])
    if more:
        call.out.note("There are more: --limit {} shows some of them.".format(given.limit * 5))
    return 0


def _list_table(call: Call) -> int:
    """Lists the runs of a filter, in the order of a field, with columns of one's own."""
    from runyard.run import search_runs

    given = call.given
    columns = [name.strip() for name in (given.columns or "").split(",") if name.strip()]
    children = "true" if given.children else "false"
    where = _where(given)
    found: List[Any] = []
    more = False
    for run, values in search_runs(
        call.workspace,
        where,
        given.sort or "",
        given.limit + 1,
        columns,
        include_children=children,
        experiment=given.experiment,
        view=_view(given),
    ):
        more = len(found) == given.limit
        if not more:
            found.append((run._record(), values))
    if call.out.as_json:
        call.out.json([dict(record, columns=dict(zip(columns, values))) for record, values in found])
        return 0
    if not found:
        call.out.note("No runs like that.")
        return 0
    if columns:
        titles = [Column("RUN"), status_column()] + [Column(name, right=True) for name in columns]
        rows = [
            [record["id"], record["status"]] + [_cell(name, value) for name, value in zip(columns, values)]
            for record, values in found
        ]
        call.out.table(titles, rows)
    else:
        call.out.table(_COLUMNS, [_row(record) for record, _ in found])
    if more:
        call.out.note("There are more: --limit {} shows some of them.".format(given.limit * 5))
    return 0


def _view(given: Any) -> str:
    return "all" if given.all else "archived" if given.archived else "active"


def _where(given: Any) -> str:
    """The filter, with what other options ask for."""
    from runyard.run_filter import filter_of

    tags = {key: value or None for key, value in given.tag or []}
    return filter_of(given.where or "", given.status, target=given.target, tags=tags)


def _cell(name: str, value: Any) -> Any:
    if value is None:
        return "-"
    if name.lower() in ("submitted", "created", "started", "ended"):
        return local_time(value, seconds=False)
    if name.lower() in ("age", "duration"):
        return duration(value)
    return "{:.6g}".format(value) if isinstance(value, float) else value


_COLUMNS = [
    Column("RUN"),
    status_column(),
    Column("CREATED"),
    Column("TOOK", right=True),
    Column("EXPERIMENT", shrinks=True),
    Column("TARGET", shrinks=True),
    Column("TAGS", shrinks=True),
]


def _row(record: Dict[str, Any]) -> Sequence[Any]:
    import time

    took = None
    if record.get("started_at"):
        took = (record.get("ended_at") or time.time()) - record["started_at"]
    tags = pairs_text(record["tags"])
    if record.get("display_name"):
        tags = record["display_name"] + ("  " + tags if tags else "")
    created = local_time(record["created_at"], seconds=False)
    return record["id"], record["status"], created, duration(took), record["experiment"], record["target"], tags


def _statuses(named: Any) -> Any:
    from runyard.protocol.status import RunStatus

    if named is None:
        return None
    if named == "unfinished":
        return ",".join(status.value for status in RunStatus if not status.is_terminal)
    return next(status.value for status in RunStatus if status.value.lower() == named)


def show(call: Call) -> int:
    """Shows one run."""
    from runyard.cli import run_page

    run = call.run(call.given.run)
    facts = run_page.facts(run)
    if call.out.as_json:
        call.out.json(facts)
    else:
        run_page.write(call.out, facts)
    return 0


def why(call: Call) -> int:
    """Says what a run waits for or how it ended."""
    from runyard.cli import run_page

    run = call.run(call.given.run)
    said = run._call("GET", "why")
    ranks = run_page.present_ranks(run, said["status"])
    if call.out.as_json:
        call.out.json(dict(said, id=run.id, ranks=ranks))
        return 0
    call.out.say("{} is {}.".format(run.id, call.out.status(said["status"])))
    run_page.write_cause(call.out, run._refresh(), said)
    run_page.write_silence(call.out, ranks)
    return 0


def logs(call: Call) -> int:
    """Prints logs."""
    from runyard.cli import run_logs

    run = call.run(call.given.run)
    if call.given.list:
        entries = run._call("GET", "logs")
        if call.out.as_json:
            call.out.json(entries)
        else:
            _write_sizes(call, [(entry["name"], entry["size"]) for entry in entries], "log")
        return 0
    run_logs.write(call.out, run, call.given.name, call.given.follow, call.given.tail, call.given.rank)
    return 0


def stacks(call: Call) -> int:
    """Prints the stacks of a run's processes."""
    run = call.run(call.given.run)
    found = run.get_stacks(call.given.timeout)
    if call.given.rank is not None:
        found = {rank: text for rank, text in found.items() if rank == call.given.rank}
    ranks = [rank["name"] for rank in run._call("GET", "ranks") if call.given.rank in (None, rank["name"])]
    silent = [rank for rank in ranks if rank not in found]
    if call.out.as_json:
        call.out.json({"id": run.id, "stacks": found, "silent": silent})
    else:
        call.out.say("\n".join("{}".format(harmless(text)) for text in found.values()).rstrip())
        if silent:
            call.out.note(
                "Nothing came of rank {} within {} s. Has it ended? See: runyard run show {}".format(
                    ", ".join(silent), call.given.timeout, run.id
                )
            )
    return 1 if silent or not found else 0


def metrics(call: Call) -> int:
    """Prints metrics."""
    from runyard.cli import run_metrics

    run = call.run(call.given.run)
    if call.given.name is None:
        run_metrics.write_table(call.out, run)
    else:
        run_metrics.write_history(call.out, run, call.given.name, call.given.last)
    return 0


def verify(call: Call) -> int:
    """Proves that nothing of a run is lost."""
    run = call.run(call.given.run)
    said = run.verify()
    if call.out.as_json:
        call.out.json(dict(said, id=run.id))
        return 0 if said["ok"] else 1
    rows = []
    for stream in said["streams"]:
        written = "still writing" if stream["written"] is None else "{:,}".format(stream["written"])
        verdict = "same" if stream["written"] in (None, stream["stored"]) else "MISSING"
        rows.append((stream["name"], written, "{:,}".format(stream["stored"]), stream["records"] or "", verdict))
    if rows:
        columns = [Column("STREAM"), Column("WRITTEN", right=True), Column("STORED", right=True)]
        call.out.table(columns + [Column("RECORDS", right=True), Column("")], rows)
        call.out.say()
    damaged = said["files"]["damaged"]
    call.out.say("{} read again, {} damaged.".format(counted(said["files"]["count"], "file"), len(damaged) or "none"))
    for name in damaged:
        call.out.say("  damaged: " + str(name))
    call.out.say("What was written is stored." if said["ok"] else "Something is missing or damaged.")
    return 0 if said["ok"] else 1


# Fetching


def files(call: Call) -> int:
    """Lists a run's files."""
    from runyard.cli.submit import to_plain
    from runyard.transfer import list_run_files

    run = call.run(call.given.run)
    prefix = call.given.prefix or ""
    found = [to_plain(entry) for entry in list_run_files(run._transport, run.id)]
    stored = {entry["path"] for entry in found}
    for log in run._call("GET", "logs"):  # those of a run that goes on are no files yet
        if log["name"] not in stored:
            found.append({"path": log["name"], "size": log["size"], "digest": None, "executable": False})
    found = sorted((entry for entry in found if entry["path"].startswith(prefix)), key=lambda entry: entry["path"])
    if call.out.as_json:
        call.out.json(found)
    else:
        _write_sizes(call, [(entry["path"], entry["size"]) for entry in found], "file")
    return 0


def _write_sizes(call: Call, entries: List[Any], noun: str) -> None:
    from runyard.progress import size_text

    if not entries:
        call.out.note("No {}s.".format(noun))
        return
    rows = [(name, size_text(size)) for name, size in entries]
    call.out.table([Column(noun.upper()), Column("SIZE", right=True)], rows)
    total = size_text(sum(size for _, size in entries))
    call.out.note("{}, {}".format(counted(len(entries), noun), total))


def download(call: Call) -> int:
    """Copies files of a run here."""
    from runyard import run_files
    from runyard.errors import FileNotInRunError
    from runyard.progress import ProgressBar

    run = call.run(call.given.run)
    kept = run_files.kept_by(run)
    there = kept.names
    wanted = there
    if call.given.names:
        wanted = []
        for named in call.given.names:
            below = [name for name in there if name == named or name.startswith(named.rstrip("/") + "/")]
            if not below:
                raise FileNotInRunError(
                    "Run {} has no file or folder {!r}. It has: {}.".format(
                        run.id, named, ", ".join(there[:20]) or "none"
                    )
                )
            wanted += [name for name in below if name not in wanted]
    directory = call.given.to or run.id
    targets = run_files.targets(wanted, None, directory, None, True)
    total = sum(entry.size for entry in kept.entries if entry.path in targets)
    with ProgressBar("Downloading", total, len(targets)) as progress:
        count = run_files.download(run, kept, targets, progress)
    if call.out.as_json:
        call.out.json({"id": run.id, "directory": directory, "files": targets})
    else:
        call.out.say("{} to {}".format(counted(count, "file"), directory))
    return 0


# Changing


def cancel(call: Call) -> int:
    """Ends runs."""
    from runyard import following

    chosen = [call.run(named) for named in call.given.runs]
    for run in chosen:
        run.cancel()
    if call.given.wait:
        for run in chosen:
            following.wait(run, show_output=False)
    records = [run._refresh() for run in chosen]
    if call.out.as_json:
        call.out.json(records)
    else:
        for record in records:
            call.out.say("{} is {}.".format(record["id"], call.out.status(record["status"])))
    return 0


def archive(call: Call) -> int:
    """Hides runs."""
    return _archived(call, True, "{} is archived.")


def restore(call: Call) -> int:
    """Brings runs back."""
    return _archived(call, False, "{} is back.")


def _archived(call: Call, archived: bool, text: str) -> int:
    chosen = [call.run(named) for named in call.given.runs]
    for run in chosen:
        run._change(archived=archived)
    if call.out.as_json:
        call.out.json([run._record() for run in chosen])
    else:
        for run in chosen:
            call.out.say(text.format(run.id))
    return 0


def delete(call: Call) -> int:
    """Deletes runs."""
    from runyard.errors import UserErrorException

    chosen = [call.run(named) for named in call.given.runs]
    if not call.given.yes:
        raise UserErrorException(
            "Deleting takes the metrics, logs and files of {}{} for good. Say --yes to do it, or archive instead: "
            "runyard run archive {}".format(
                ", ".join(run.id for run in chosen), _below(chosen), " ".join(run.id for run in chosen)
            )
        )
    gone: List[str] = []
    for run in chosen:
        if run.id not in gone:  # it stood below one of the others
            gone += run.delete(call.given.keep_models, call.given.with_logged_models)
    if call.out.as_json:
        call.out.json({"deleted": gone})
    else:
        for run_id in gone:
            call.out.say("{} is deleted.".format(run_id))
    return 0


def _below(chosen: "List[Run]") -> str:
    """What goes with these runs, as a part of a sentence; "" where there is nothing."""
    walk = itertools.chain.from_iterable(_all_below(run) for run in chosen)
    found = {child.id: child.type == _LOGGED_MODEL for child in itertools.islice(walk, _MOST_BELOW + 1)}
    parts = []
    for are_models, one, many in ((False, "run", "runs"), (True, "logged model", "logged models")):
        ids = [run_id for run_id, is_model in found.items() if is_model is are_models]
        if ids:
            more = ", ..." if len(ids) > _NAMED_BELOW else ""
            named = ", ".join(ids[:_NAMED_BELOW])
            parts.append("{} {} ({}{})".format(len(ids), one if len(ids) == 1 else many, named, more))
    if not parts:
        return ""
    return " and, below, of {}{}".format("at least " if len(found) > _MOST_BELOW else "", " and ".join(parts))


def _all_below(run: "Run") -> "Iterator[Run]":
    """The runs below one, archived ones too."""
    from runyard.run import list_runs

    for child in list_runs(run.experiment.workspace, None, parent=run.id, view_type="All"):
        yield child
        yield from _all_below(child)


def deleted(call: Call) -> int:
    """Lists runs that were deleted."""
    found: List[Dict[str, Any]] = call.transport.call("GET", "/deleted-runs", query={"limit": call.given.limit})
    if call.out.as_json:
        call.out.json(found)
    elif not found:
        call.out.note("No run was deleted.")
    else:
        columns = [
            Column("RUN"),
            status_column(),
            Column("DELETED"),
            Column("BY", shrinks=True),
            Column("WHY", shrinks=True),
        ]
        rows = [
            (gone["id"], gone["status"], local_time(gone["deleted_at"]), gone["deleted_by"], gone["reason"])
            for gone in found
        ]
        call.out.table(columns, rows)
    return 0


def tag(call: Call) -> int:
    """Sets and removes tags."""
    run = call.run(call.given.run)
    if call.given.tags or call.given.remove:
        run._change(tags=dict(call.given.tags) or None, remove_tags=call.given.remove or None)
    write_tags(call, run.get_tags())
    return 0


def write_tags(call: Call, tags: Dict[str, str]) -> None:
    """The tags as they are now."""
    if call.out.as_json:
        call.out.json(tags)
    elif tags:
        call.out.fields(sorted((key, value or "-") for key, value in tags.items()))
    else:
        call.out.note("No tags.")


def wait(call: Call) -> int:
    """Waits for a run's end."""
    from runyard.cli.submit import follow

    return follow(call, call.run(call.given.run), call.given.follow)
