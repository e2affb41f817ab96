"""What the page of a run shows, gathered from the services."""

import re
import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from runyard.errors import SnapshotException
from runyard.protocol.files import FileEntry
from runyard.protocol.models import ModelRecord
from runyard.protocol.runs import RunEvent, RunRecord
from runyard.protocol.status import RunStatus
from runyard_server.services.container import Services
from runyard_server.services.metrics import MetricPage, MetricSummary, Wanted
from runyard_server.services.models import ModelFilter
from runyard_server.services.runs import RunFilter
from runyard_server.ui import charts, exhibits, system_page, terminal_text
from runyard_server.ui.chart_settings import USUAL, ChartSettings
from runyard_server.ui.charts import Chart
from runyard_server.ui.exhibits import Exhibits
from runyard_server.ui.system_page import System
from runyard_server.ui.terminal_text import Tail
from runyard_server.ui.words import number

FIRST_CHARTS = 24
MOST_CHARTS = 96  # the others are found by their names
MOST_METRICS = 100
MOST_FILES = 500
MOST_CHILDREN = 100

_PIN = re.compile(r"([A-Za-z0-9][\w.\-]*)(?:\[[^\]]*\])?\s*(?:==\s*([^\s;\\]+)|@)")
_DRIVER_LOG = re.compile(r"azureml-logs/(?:attempt-(\d+)/)?70_driver_log")
_BAR = 1000  # width of the timeline's bar, in its own units
_NARROWEST = 6


@dataclass(frozen=True)
class Stage:
    """One stretch of a run's life. ``ended_at`` is None for the present one and for the end.

    ``x`` and ``width`` place it on the timeline's bar.
    """

    status: RunStatus
    at: float
    ended_at: float | None
    reason: str
    message: str
    by: str
    x: float = 0.0
    width: float = 0.0


@dataclass(frozen=True)
class MetricRow:
    """A metric at a glance, as text; ``kind`` is "scalar", "table", ..."""

    name: str
    kind: str
    last: str
    least: str
    greatest: str
    count: int
    description: str


@dataclass(frozen=True)
class Metrics:
    """Metrics of a run, those that are looked for.

    Attributes:
        charts: may be fewer than could be drawn; ``more_charts`` says by how many, ``drawable`` how many more at once.
        count: how many there are in all.
        next: the name that the next rows come after; None at the end.
    """

    rows: list[MetricRow]
    charts: list[Chart]
    more_charts: int
    drawable: int
    count: int
    next: str | None


@dataclass(frozen=True)
class Asked:
    """What of a run's metrics is to be seen.

    Attributes:
        settings: how the charts are looked at.
        all_charts: as many as can be drawn at once.
        search: a part of the metrics' names.
        after: the name that the rows begin after.
    """

    settings: ChartSettings = USUAL
    all_charts: bool = False
    search: str = ""
    after: str | None = None

    def address(self, charts: str = "", after: str = "") -> str:
        """The query of the page with the same settings."""
        said = [("charts", charts or ("all" if self.all_charts else "")), ("metric", self.search), ("after", after)]
        return urlencode([*((key, value) for key, value in said if value), *self.settings.query()])

    def kept(self, log: str) -> list[tuple[str, str]]:
        """What the form of the charts' settings says beside those: what else was chosen, and stays."""
        zooms = [(key, value) for key, value in self.settings.query() if key == "zoom"]
        return [("charts", "all")] * self.all_charts + [("log", log)] * bool(log) + zooms


@dataclass(frozen=True)
class Log:
    """The log that is shown, and the others. ``name`` is None while there is none."""

    name: str | None
    names: list[tuple[str, int]]
    tail: Tail | None


@dataclass(frozen=True)
class Code:
    """The snapshot that a run was made from. ``files`` is None where it is not here."""

    id: str
    files: Sequence[FileEntry] | None

    @property
    def size_bytes(self) -> int:
        return sum(entry.size for entry in self.files or ())


@dataclass(frozen=True)
class Packages:
    """A run's environment. ``pins`` are (package, version)."""

    key: str
    python_version: str
    pins: list[tuple[str, str]]


@dataclass(frozen=True)
class Measured:
    """What a run has logged."""

    run: RunRecord
    metrics: Metrics
    exhibits: Exhibits


@dataclass(frozen=True)
class RunView(Measured):
    """Everything on the page but the log."""

    stages: list[Stage]
    waits_for: str
    command: str
    system: System
    files: list[FileEntry]
    more_files: int
    children: Sequence[RunRecord]
    models: Sequence[ModelRecord]
    code: Code | None
    packages: Packages | None
    may_act: bool
    rerun_id: str


def look(held: Services, run_id: str, now: float, asked: Asked, may_act: bool = False) -> RunView:
    """The run as it is now.

    Args:
        may_act: whether the visitor may cancel it and submit it again.
    Raises:
        UnknownRunError: there is none.
    """
    run = held.runs.get(run_id)
    files = held.files.list(run_id)
    page = _page(held, run_id, asked)
    return RunView(
        run=run,
        stages=stages(held.runs.events(run_id), now),
        waits_for=_waits_for(held, run),
        command=_command(run),
        metrics=metrics(held, run_id, asked, page),
        exhibits=exhibits.look(held, run_id, asked.search, lambda: _sizes(files), _all_of(page, asked)),
        system=system_page.look(held, run_id),
        files=files[:MOST_FILES],
        more_files=max(0, len(files) - MOST_FILES),
        children=held.runs.list(RunFilter(parent_id=run_id, limit=MOST_CHILDREN)),
        models=held.models.list(ModelFilter(run_id=run_id)).models,
        code=_code(held, run),
        packages=packages(held, run),
        may_act=may_act,
        rerun_id=f"{run.experiment}_{int(now)}_{secrets.token_hex(4)}",
    )


def measured(held: Services, run_id: str, asked: Asked) -> Measured:
    """What the run has logged by now. Raises UnknownRunError: there is none."""
    run, page = held.runs.get(run_id), _page(held, run_id, asked)
    known = _all_of(page, asked)
    shown = exhibits.look(held, run_id, asked.search, lambda: _sizes(held.files.list(run_id)), known)
    return Measured(run, metrics(held, run_id, asked, page), shown)


def _page(held: Services, run_id: str, asked: Asked) -> MetricPage:
    return held.metrics.page(run_id, Wanted(asked.search), asked.after, MOST_METRICS)


def _all_of(page: MetricPage, asked: Asked) -> Sequence[MetricSummary] | None:
    """All metrics that are looked for, where one page has them: then nothing of them is asked for again."""
    return page.metrics if asked.after is None and page.next is None else None


def _sizes(files: Sequence[FileEntry]) -> dict[str, int]:
    return {file.path: file.size for file in files}


def stages(events: Sequence[RunEvent], now: float) -> list[Stage]:
    """The run's story as stretches of time, with their places on a bar."""
    ends = [event.at for event in events[1:]]
    ends.append(events[-1].at if events and events[-1].to_status.is_terminal else now)
    spans = [max(0.0, end - event.at) for event, end in zip(events, ends, strict=True)] if events else []
    lasting = [not event.to_status.is_terminal for event in events]
    room = _BAR - _NARROWEST * sum(lasting)
    whole = sum(spans) or 1.0
    found: list[Stage] = []
    x = 0.0
    for place, (event, span) in enumerate(zip(events, spans, strict=True)):
        width = _NARROWEST + room * span / whole if lasting[place] else 0.0
        ended_at = ends[place] if place + 1 < len(events) else None
        known = (event.reason, event.message, event.by)
        found.append(Stage(event.to_status, event.at, ended_at, *known, x=round(x, 1), width=round(width, 1)))
        x += width
    return found


def metrics(held: Services, run_id: str, asked: Asked, page: MetricPage) -> Metrics:
    """The run's metrics: a page of them with their figures, the first of those that are curves with their charts."""
    most = MOST_CHARTS if asked.all_charts else FIRST_CHARTS
    whole = _all_of(page, asked)
    if whole is None:
        curves = held.metrics.page(run_id, Wanted(asked.search, drawable=True), None, most)
        drawn, drawable = [metric.name for metric in curves.metrics], curves.count
    else:
        names = [metric.name for metric in whole if metric.is_drawable]
        drawn, drawable = names[:most], len(names)
    rows = [
        MetricRow(
            name=metric.name,
            kind=metric.type.rpartition(".")[2],
            last=page.glances[metric.name] if metric.name in page.glances else number(metric.summary.last),
            least=number(metric.summary.min),
            greatest=number(metric.summary.max),
            count=metric.summary.count,
            description=metric.description or "",
        )
        for metric in page.metrics
    ]
    return Metrics(
        rows=rows,
        charts=charts.charts(held, [run_id], drawn, asked.settings),
        more_charts=drawable - len(drawn),
        drawable=min(MOST_CHARTS, drawable) - len(drawn),
        count=page.count,
        next=page.next,
    )


def log(held: Services, run_id: str, name: str | None) -> Log:
    """The end of a log: the one asked for, else what the script (before it, the preparation) wrote.

    Raises:
        FileNotInRunError: the run has no such log.
    """
    names = held.reading.list(run_id)
    shown = name or usual_log([known for known, _ in names])
    if not shown:
        return Log(None, names, None)
    size = dict(names).get(shown, 0)
    start = max(0, size - terminal_text.TAIL_BYTES)
    data = held.reading.read(run_id, shown, start, terminal_text.TAIL_BYTES)
    return Log(shown, names, terminal_text.tail(data, start))


def usual_log(names: Sequence[str]) -> str:
    """The log that is shown to whoever asks for none; "" where there is no log."""
    found = [match for name in names if (match := _DRIVER_LOG.match(name))]
    if found:  # of the newest attempt, its first rank's
        newest = max(int(match[1] or 1) for match in found)
        return next(match.string for match in found if int(match[1] or 1) == newest)
    return next((name for name in names if name.startswith("azureml-logs/")), names[0] if names else "")


def _waits_for(held: Services, run: RunRecord) -> str:
    if run.status is not RunStatus.QUEUED:
        return ""
    decision = held.queue.why(run)
    if decision is None or decision.starts:
        return ""
    place = f" (place {decision.position} in the queue)" if decision.position else ""  # else it is in an engine's queue
    return f"{decision.reason[:1].upper()}{decision.reason[1:]}{place}"


def _command(run: RunRecord) -> str:
    if run.spec is None:
        return ""
    head = [run.spec.script] if run.spec.script else run.spec.command
    return shlex.join([*head, *run.spec.arguments])


def _code(held: Services, run: RunRecord) -> Code | None:
    if not run.snapshot:
        return None
    try:
        return Code(run.snapshot, held.snapshots.get(run.snapshot).files)
    except SnapshotException:  # an interactive run may name a snapshot that never came here
        return Code(run.snapshot, None)


def packages(held: Services, run: RunRecord) -> Packages | None:
    """The packages of the run's environment, None where they are not known."""
    lock = held.environments.lock_by_key(run.environment_key) if run.environment_key else None
    if lock is None:
        return None
    pins = [
        (found[1], found[2] or "from its own address")  # the address itself may hold a password
        for line in lock.requirements.splitlines()
        if (found := _PIN.match(line))
    ]
    pins += [(each.name, f"{each.version} ({each.build}, conda)") for each in lock.conda]
    return Packages(lock.key, lock.python_version, sorted(pins, key=lambda pin: pin[0].lower()))
