"""What ``runyard run show`` tells of one run."""

import time
from typing import TYPE_CHECKING, Any, Dict, List, Tuple

from runyard.cli.output import Column, Output, duration, harmless, local_time, one_line, pairs_text
from runyard.cli.submit import attempts_text, command_text, environment_text

if TYPE_CHECKING:
    from runyard.run import Run

MOST_SILENT = 8  # ranks that are named


def facts(run: "Run") -> Dict[str, Any]:
    """The run's record with its ``events``, ``why``, number of ``files``, ``models`` and ``children``."""
    from runyard.model import Model
    from runyard.run import list_runs
    from runyard.transfer import list_run_files

    workspace = run.experiment.workspace
    return dict(
        run._refresh(),
        events=run._call("GET", "events"),
        why=run._call("GET", "why"),
        ranks=run._call("GET", "ranks"),
        files=len(list_run_files(run._transport, run.id)),
        models=[model.id for model in Model.list(workspace, run_id=run.id)],
        children=[child.id for child in list_runs(workspace, None, parent=run.id)],
    )


def write(out: Output, said: Dict[str, Any]) -> None:
    """The facts for a person."""
    out.fields(_fields(out, said))
    if said["error"] or not said["started_at"]:
        out.say()
        write_cause(out, said, said["why"])
    if not said["ended_at"]:
        _write_ranks(out, said["ranks"])
    _write_attempts(out, said)
    for warning in said["warnings"]:
        out.say("\nwarning: " + one_line(warning))
    if said["events"]:
        out.say()
        _write_story(out, said["events"])


def write_cause(out: Output, said: Dict[str, Any], why: Dict[str, Any]) -> None:
    """What the run waits for, or why it ended as it did; with the script's traceback if there is one."""
    error = said.get("error")
    if not error:
        text = _cause(said, why)
        if text:
            out.say(text)
        return
    where = [] if error["rank"] is None else ["rank {}".format(error["rank"])]
    if error["signal"]:
        where.append("signal {}".format(error["signal"]))
    elif error["exit_code"] is not None:
        where.append("exit code {}".format(error["exit_code"]))
    out.say("{}{}".format(harmless(error["message"]), " ({})".format(", ".join(where)) if where else ""))
    if error["traceback"]:
        out.say()
        out.say("\n".join("    " + line for line in harmless(error["traceback"]).rstrip().split("\n")))


def present_ranks(run: "Run", status: str) -> List[Dict[str, Any]]:
    """The processes of a run whose script was started; none of one that waits or is over."""
    return list(run._call("GET", "ranks")) if status in ("Running", "NotResponding", "CancelRequested") else []


def write_silence(out: Output, ranks: List[Dict[str, Any]]) -> None:
    """Which processes have printed nothing for longest: one that hangs is among them."""
    live = sorted((rank for rank in ranks if rank["state"] == "running"), key=lambda rank: rank["last_output_at"] or 0)
    said = ["rank {} {}".format(rank["name"], _last_output(rank)) for rank in live[:MOST_SILENT]]
    if said:
        more = len(live) - len(said)
        out.say("Last output: {}{}.".format(", ".join(said), ", {} more since".format(more) if more else ""))


def _write_attempts(out: Output, said: Dict[str, Any]) -> None:
    """Those that have ended and the present one, of a run that was tried more than once."""
    over = said.get("attempts") or []
    if not over:
        return
    rows: List[Tuple[Any, ...]] = []
    for each in over:
        lost = duration(each["lost_work_s"]) + " of work lost" if each["lost_work_s"] is not None else ""
        since = "since its last output" if each["saved_at"] is not None else "since its start: it left no output"
        how = "{}{}".format(one_line(each["message"]), " ({} {})".format(lost, since) if lost else "")
        rows.append((each["number"], local_time(each["started_at"]) or "", each["reason"], how))
    if said["attempt"] > len(over):
        rows.append((said["attempt"], "", said["status"], ""))
    out.say()
    columns = [Column("ATTEMPT", right=True), Column("STARTED"), Column("CAUSE"), Column("", shrinks=True)]
    out.table(columns, rows)


def _write_ranks(out: Output, ranks: List[Dict[str, Any]]) -> None:
    rows = [(rank["name"], rank["node"], rank["state"], _last_output(rank)) for rank in ranks if rank["started_at"]]
    if rows:
        out.say()
        out.table([Column("RANK"), Column("NODE", right=True), Column("STATE"), Column("LAST OUTPUT")], rows)


def _last_output(rank: Dict[str, Any]) -> str:
    if rank["last_output_at"] is None:
        return "none yet"
    return "{} ago".format(duration(time.time() - rank["last_output_at"]))


def _cause(said: Dict[str, Any], why: Dict[str, Any]) -> str:
    if said["ended_at"]:
        words = [one_line(said["message"])] if said["message"] else []
        took = _took(said)
        return "; ".join(words + ["it ended at {}{}".format(local_time(said["ended_at"]), ", " + took if took else "")])
    if why["status"] == "Running" and said["started_at"]:
        return "for {} now, on {}".format(duration(time.time() - said["started_at"]), said["target"])
    # A reason without a message comes as its word.
    reason = why["reason"] if why["reason"] != said["reason"] else why["reason"].replace("_", " ")
    place = "; number {} in the queue".format(why["position"]) if why["position"] > 1 else ""
    since = "; since {}".format(local_time(why["since"])) if why.get("since") else ""
    return one_line(reason) + place + since


def _fields(out: Output, said: Dict[str, Any]) -> List[Tuple[str, Any]]:
    spec = said.get("spec") or {}
    status = out.status(said["status"]) + ("  ({})".format(said["reason"]) if said["reason"] else "")
    allowed = attempts_text(spec["retry"]) if spec.get("retry") else None
    tried = "attempt {}{}".format(said["attempt"], " ({})".format(allowed) if allowed else "")
    models = ", ".join(said["models"])
    fields = [
        ("run", said["id"]),
        ("name", said["display_name"]),
        ("experiment", "{} (run {})".format(said["experiment"], said["number"])),
        ("status", status),
        ("tried", tried if allowed or said["attempt"] > 1 else None),
        ("created", _moment(said["created_at"], _by(said["submitted_by"]))),
        ("started", _moment(said["started_at"], _since(said["created_at"], said["started_at"]))),
        ("ended", _moment(said["ended_at"], _took(said))),
        ("target", said["target"]),
    ]
    if spec:
        fields += [
            ("command", command_text(spec["script"], spec["command"], spec["arguments"])),
            ("environment", environment_text(spec["environment"])),
            ("nodes", spec["node_count"] if spec["node_count"] > 1 else None),
            (
                "data",
                ", ".join("{}={}/{}".format(d["name"], d["datastore"], d["path"]) for d in spec["data_references"]),
            ),
            ("rerun of", spec["rerun_of"]),
        ]
    fields += [
        ("parent", said["parent_id"]),
        ("children", len(said["children"]) or None),
        ("description", said["description"]),
        ("tags", pairs_text(said["tags"])),
        ("properties", pairs_text({key: value for key, value in said["properties"].items() if len(value) < 60})),
        ("files", "{}  (runyard run files {})".format(said["files"], said["id"]) if said["files"] else None),
        ("models", models),
        ("page", said["portal_url"]),
    ]
    return [(name, value if name == "status" else one_line(value)) for name, value in fields]


def _moment(at: Any, remark: Any) -> str:
    text = local_time(at)
    return "{}  {}".format(text, remark) if text and remark else text


def _by(whom: Any) -> str:
    return "by " + whom if whom and whom != "user" else ""  # a person of this machine is the common case


def _since(begin: Any, end: Any) -> str:
    return "{} later".format(duration(end - begin)) if begin and end else ""


def _took(said: Dict[str, Any]) -> str:
    if not said["started_at"] or not said["ended_at"]:
        return ""
    return "took {}".format(duration(said["ended_at"] - said["started_at"]))


def _write_story(out: Output, events: List[Dict[str, Any]]) -> None:
    day = ""
    rows = []
    for event in events:
        moment = time.localtime(event["at"])
        today = time.strftime("%Y-%m-%d", moment)
        clock = time.strftime("%H:%M:%S", moment) + ".{:03d}".format(int(event["at"] * 1000) % 1000)
        rows.append((today if today != day else "", clock, event["to_status"], event["reason"], event["message"]))
        day = today
    columns = [Column(""), Column("TIME"), Column("STATUS"), Column("REASON"), Column("", shrinks=True)]
    out.table(columns, rows)
