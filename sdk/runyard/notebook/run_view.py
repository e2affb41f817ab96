"""What there is to see of a run, looked at once: ``look``. It must not know how it is shown."""

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Set, Tuple

from runyard.following import is_shown
from runyard.notebook.images import Images
from runyard.notebook.wording import number
from runyard.protocol.codec import from_json
from runyard.protocol.exhibits import Exhibit, Exhibits, Sheet
from runyard.protocol.status import RunStatus
from runyard.rank_lines import in_order, named, rank_of, title_of
from runyard.transport.base import url_path

if TYPE_CHECKING:
    from runyard.run import Run

MOST_CURVES = 6
MOST_METRICS = 30
MOST_CHILDREN = 20
MOST_EXHIBITS = 4
LOG_LINES = 30
_LOG_RANKS = 6  # of those that print to logs of their own, the first ones
_CURVE_COLUMNS = 60
_LOOKED_AT = 200  # metrics, of which those that are no curves are shown
_SCALAR = "azureml.v1.scalar"
_LOG_BYTES = 16384
_CELL_LETTERS = 40

# What terminals take for colours and cursor moves.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class Stage:
    """One stretch of a run's life; ``ended_at`` None for the present one. Seconds since the epoch."""

    status: str
    at: float
    ended_at: Optional[float]


@dataclass(frozen=True)
class Curve:
    """A metric that was logged more than once: where (step, or place in order) and what."""

    name: str
    places: List[float]
    values: List[float]


@dataclass(frozen=True)
class RunView:
    """A run at a moment. Times are seconds since the epoch.

    Attributes:
        waits_for: what the run waits for, or how it ended.
        command: what runs, as a person would write it; "" for an interactive run.
        metrics: name and last value, as text, of those that are no curve.
        log: name and last lines of the log that matters now; of several ranks the last ones of each, with its name.
            None while there is none.
        children: id, status and name of child runs.
        exhibits: what was logged and is no number: pictures, tables, matrices.
        images: of the pictures among them, those that are drawn: an address that carries each, by its path.
        more: how many of what are left out: "curves", "metrics", "exhibits", "children".
    """

    id: str
    experiment: str
    status: str
    is_over: bool
    target: str
    address: str
    command: str
    waits_for: str
    looked_at: float
    created_at: float
    started_at: Optional[float] = None
    ended_at: Optional[float] = None
    error: Optional[Dict[str, Any]] = None
    warnings: List[str] = field(default_factory=list)
    tags: Dict[str, str] = field(default_factory=dict)
    stages: List[Stage] = field(default_factory=list)
    curves: List[Curve] = field(default_factory=list)
    metrics: List[Tuple[str, str]] = field(default_factory=list)
    log: Optional[Tuple[str, List[str]]] = None
    children: List[Tuple[str, str, str]] = field(default_factory=list)
    exhibits: List[Exhibit] = field(default_factory=list)
    images: Dict[str, str] = field(default_factory=dict)
    more: Dict[str, int] = field(default_factory=dict)


def look(run: "Run", now: float, images: Optional[Images] = None) -> RunView:
    """The run as the server knows it now.

    Args:
        images: keeps those that were fetched; None where none are drawn.
    Raises:
        RunyardError: the server is away, or has no such run.
    """
    record = run._refresh()
    status = RunStatus(record["status"])
    exhibits = _exhibits(run)
    curves, metrics, more = _metrics(run, {exhibit.name for exhibit in exhibits.shown})
    more["exhibits"] = exhibits.more
    children, more["children"] = _children(run)
    return RunView(
        id=run.id,
        experiment=record["experiment"],
        status=str(status),
        is_over=status.is_terminal,
        target=record.get("target") or "",
        address=record["portal_url"],
        command=_command(record.get("spec")),
        waits_for=_waits_for(run, record, status),
        looked_at=now,
        created_at=record["created_at"],
        started_at=record.get("started_at"),
        ended_at=record.get("ended_at"),
        error=record.get("error"),
        warnings=list(record.get("warnings") or ()),
        tags=dict(record.get("tags") or {}),
        stages=_stages(run._call("GET", "events")),
        curves=curves,
        metrics=metrics,
        log=_log(run),
        children=children,
        exhibits=exhibits.shown,
        images=images.of(run, exhibits.shown) if images is not None else {},
        more={what: count for what, count in more.items() if count},
    )


def _command(spec: Optional[Dict[str, Any]]) -> str:
    if not spec:
        return ""
    import shlex

    words = spec["command"] or ["python", spec["script"] or ""] + list(spec["arguments"])
    return " ".join(shlex.quote(word) for word in words)


def _waits_for(run: "Run", record: Dict[str, Any], status: RunStatus) -> str:
    if status is RunStatus.QUEUED:
        return str(run._call("GET", "why")["reason"])
    return str(record.get("message") or "")


def _stages(events: List[Dict[str, Any]]) -> List[Stage]:
    ends = [event["at"] for event in events[1:]] + [None]
    return [Stage(event["to_status"], event["at"], end) for event, end in zip(events, ends)]


def _exhibits(run: "Run") -> Exhibits:
    path = url_path("runs", run.id, "metrics", "exhibits")
    return from_json(Exhibits, run._transport.call("GET", path, query={"limit": str(MOST_EXHIBITS)}))


def fitting(sheet: Sheet, most_rows: int, most_columns: int) -> Tuple[Sheet, str]:
    """The rows and columns of a table for which there is room, and which these are, in words; "" where they are all."""
    rows = sheet.rows[-most_rows:] if sheet.from_end else sheet.rows[:most_rows]
    cut = ["the {} {} rows".format("last" if sheet.from_end else "first", most_rows)] if rows != sheet.rows else []
    cut += ["the first {} columns".format(most_columns)] if len(sheet.titles) > most_columns else []
    small = replace(
        sheet,
        titles=[_shortened(title) for title in sheet.titles[:most_columns]],
        rows=[[_shortened(cell) for cell in row[:most_columns]] for row in rows],
        numeric=sheet.numeric[:most_columns],
    )
    return small, " and ".join(cut)


def _shortened(text: str) -> str:
    return text if len(text) <= _CELL_LETTERS else text[: _CELL_LETTERS - 1] + "…"


def _metrics(run: "Run", drawn: Set[str]) -> Tuple[List[Curve], List[Tuple[str, str]], Dict[str, int]]:
    """Curves, the others at a glance but for those that are ``drawn`` otherwise, and how many are left out."""
    path = url_path("runs", run.id, "metrics", "summaries")
    query = {"drawable": "true", "limit": str(MOST_CURVES)}
    drawable = run._transport.call("GET", path, query=query)
    all_ = run._transport.call("GET", path, query={"limit": str(_LOOKED_AT)})
    names = [metric["name"] for metric in drawable["metrics"]]
    rest = [(one["name"], _glance(one)) for one in all_["metrics"] if one["name"] not in drawn and not _is_curve(one)][
        :MOST_METRICS
    ]
    more = {"curves": drawable["count"] - len(names)}
    if all_["next"] is not None:
        more["metrics"] = max(0, all_["count"] - drawable["count"] - len(drawn) - len(rest))
    return _curves(run, names), rest, more


def _curves(run: "Run", names: List[str]) -> List[Curve]:
    if not names:
        return []
    query = {"run": run.id, "width": str(_CURVE_COLUMNS), "name": names}
    said = run._transport.call("GET", "/metrics/curves", query=query)
    # What is no finite number comes as a text that float() reads.
    return [
        Curve(curve["name"], [float(x) for x in curve["xs"]], [float(value) for value in curve["values"]])
        for curve in said["curves"]
    ]


def _is_curve(metric: Dict[str, Any]) -> bool:
    return bool(metric["type"] == _SCALAR and metric["count"] > 1 and metric["max"] is not None)


def _glance(metric: Dict[str, Any]) -> str:
    if metric["glance"] is not None:
        return str(metric["glance"])
    return "NaN" if metric["last"] is None else number(metric["last"])


def _log(run: "Run") -> Optional[Tuple[str, List[str]]]:
    logs = [entry for entry in run._call("GET", "logs") if is_shown(entry["name"]) and entry["size"]]
    if not logs:
        return None
    ranks = in_order([entry["name"] for entry in logs if rank_of(entry["name"])])
    title = title_of(ranks[-1]) if ranks else ""
    ranks = [name for name in ranks if title_of(name) == title][:_LOG_RANKS]  # of the newest attempt
    sizes = {entry["name"]: int(entry["size"]) for entry in logs}
    if not ranks:
        last = max(sizes)  # they are numbered in the order in which they matter
        return last, _last_lines(run, last, sizes[last], LOG_LINES)
    each = LOG_LINES // len(ranks)
    lines = [
        named(str(rank_of(name)), line).rstrip("\n")
        for name in ranks
        for line in _last_lines(run, name, sizes[name], each)
    ]
    return title, lines


def _last_lines(run: "Run", log: str, size: int, count: int) -> List[str]:
    start = max(0, size - _LOG_BYTES)
    path = url_path("runs", run.id, "logs", log)
    with run._transport.request("GET", path, query={"offset": start, "limit": _LOG_BYTES}) as answer:
        text = answer.whole().decode("utf-8", "replace")
    lines = text.split("\n")
    if start:
        lines = lines[1:]  # the first one is a piece of a line
    return [plain(line) for line in lines if line.strip()][-count:]


def plain(line: str) -> str:
    """A line as it stands on a terminal in the end: what a carriage return took back is gone, and so are colours."""
    return _CONTROL.sub("", _ESCAPES.sub("", line.rstrip("\r").rsplit("\r", 1)[-1]))


def _children(run: "Run") -> Tuple[List[Tuple[str, str, str]], int]:
    query = {"parent": run.id, "limit": str(MOST_CHILDREN + 1)}
    found = run._transport.call("GET", "/runs", query=query)
    shown = [(child["id"], child["status"], child.get("display_name") or "") for child in found[:MOST_CHILDREN]]
    return shown, max(0, len(found) - MOST_CHILDREN)
