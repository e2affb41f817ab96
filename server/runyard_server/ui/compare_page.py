"""Several runs side by side: what differs between them first, then their curves in one picture each."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runyard.errors import UserErrorException
from runyard.protocol.runs import RunRecord
from runyard_server.services.container import Services
from runyard_server.services.curves import MOST_CURVES
from runyard_server.services.metrics import MetricSummary
from runyard_server.services.run_table import arguments
from runyard_server.ui import words
from runyard_server.ui.chart_settings import USUAL, ChartSettings
from runyard_server.ui.charts import Chart, charts
from runyard_server.ui.parallel import Parallel, numeric, parallel

MOST = 500  # runs on one page
FIRST_CHARTS = 8
_FIRST_CURVES = 1000  # of many runs fewer charts come first: so many curves take about a second
MOST_CHARTS = 60
COLOURS = 10  # told apart in the style sheet
_MOST_METRICS = 200  # rows of the table


@dataclass(frozen=True)
class Row:
    """One thing that the runs have: its value for each run, a dash where one has none."""

    kind: str
    name: str
    values: Sequence[str]

    @property
    def differs(self) -> bool:
        return len(set(self.values)) > 1


@dataclass(frozen=True)
class View:
    """The page. ``more`` is how many metrics have no picture yet."""

    runs: Sequence[RunRecord]
    different: Sequence[Row]
    same: Sequence[Row]
    charts: Sequence[Chart]
    more: int
    parallel: Parallel | None
    colours: int = COLOURS

    @property
    def labels(self) -> list[str]:
        return [words.run_name(run) for run in self.runs]


def look(held: Services, run_ids: Sequence[str], now: float, all_charts: bool, settings: ChartSettings = USUAL) -> View:
    """The page of these runs, in this order.

    Raises:
        UserErrorException: too many of them.
        UnknownRunError: one is not here.
    """
    if len(run_ids) > MOST:
        raise UserErrorException(f"{MOST} runs can be compared at once, not {len(run_ids)}. Mark fewer of them.")
    runs = list(held.runs.get_all(run_ids).values())
    names = held.metrics.usual_names(run_ids, _MOST_METRICS) if runs else []
    summaries = held.metrics.summaries(run_ids, names) if names else {}
    known = {name: {run.id: one for run in runs if (one := summaries.get(run.id, {}).get(name))} for name in names}
    rows = _rows(runs, now)
    for name in names:
        last = [known[name].get(run.id) for run in runs]
        rows.append(Row("Metrics", name, [words.number(one.summary.last) if one else "–" for one in last]))
    drawn = [name for name in names if any(one.summary.count > 1 for one in known[name].values())]
    first = min(FIRST_CHARTS, max(1, _FIRST_CURVES // max(1, len(runs))))
    most = min(MOST_CHARTS, MOST_CURVES // max(1, len(runs)))  # the service gives no more at once
    shown = drawn[: most if all_charts else first]
    pictures = charts(held, run_ids, shown, settings) if shown else []
    different = [row for row in rows if row.differs]
    same = [row for row in rows if not row.differs]
    return View(runs, different, same, pictures, len(drawn) - len(shown), _parallel(runs, known))


def _parallel(runs: Sequence[RunRecord], known: Mapping[str, Mapping[str, MetricSummary]]) -> Parallel | None:
    """Arguments that are numbers, and the last values of metrics, across the runs."""
    told = [arguments(run) for run in runs]
    names = dict.fromkeys(name for pairs in told for name in pairs)
    given = {name: numeric([pairs.get(name) for pairs in told]) for name in names}
    measured = {
        name: [of_runs[run.id].summary.last if run.id in of_runs else None for run in runs]
        for name, of_runs in known.items()
    }
    return parallel({name: values for name, values in given.items() if values}, measured)


def _said(pairs: Mapping[str, str], name: str) -> str:
    """A bare mark is a tag too."""
    return (str(pairs[name]) or "✓") if name in pairs else "–"


def _rows(runs: Sequence[RunRecord], now: float) -> list[Row]:
    """All but the metrics: arguments, tags, environment, code, and how it went."""
    rows = []
    for kind, told in (("Arguments", [arguments(run) for run in runs]), ("Tags", [run.tags for run in runs])):
        usual = Counter(name for pairs in told for name in pairs)
        names = sorted(usual, key=lambda name: (-usual[name], name))
        rows += [Row(kind, name, [_said(pairs, name) for pairs in told]) for name in names]
    specs = [run.spec for run in runs]
    rows.append(
        Row("Code", "script", [spec.script or " ".join(spec.command) or "–" if spec else "–" for spec in specs])
    )
    rows.append(Row("Code", "snapshot", [(run.snapshot or "–")[:12] for run in runs]))
    for key in ("azureml.git.commit", "azureml.git.branch"):
        rows.append(Row("Code", key.rpartition(".")[2], [str(run.properties.get(key, "–"))[:12] for run in runs]))
    rows.append(Row("Environment", "name", [(spec.environment.name if spec else None) or "–" for spec in specs]))
    rows.append(Row("Environment", "lock", [(run.environment_key or "–")[:12] for run in runs]))
    rows.append(Row("Run", "status", [words.spaced(run.status.value) for run in runs]))
    rows.append(Row("Run", "target", [run.target or "–" for run in runs]))
    lasted = [words.duration((run.ended_at or now) - run.started_at) if run.started_at else "–" for run in runs]
    rows.append(Row("Run", "lasted", lasted))
    return [row for row in rows if set(row.values) != {"–"}]
