"""What a run's nodes had to do, as a section of the run's page: one chart for each measure, with a line for each node."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from runyard.protocol.system_metrics import parts_of
from runyard_server.domain.metric_curves import ELAPSED
from runyard_server.services.container import Services
from runyard_server.services.curves import Curve
from runyard_server.services.metrics import MOST_ON_A_PAGE, Wanted
from runyard_server.ui import words
from runyard_server.ui.chart_settings import ChartSettings
from runyard_server.ui.charts import Chart, chart, columns

MOST_NODES = 16
_TITLES = {
    "cpu_percent": "CPU",
    "memory_percent": "Memory",
    "memory_bytes": "Memory used",
    "disk_percent": "Disk",
    "disk_bytes": "Disk used",
    "disk_read_bytes_per_s": "Disk, read",
    "disk_written_bytes_per_s": "Disk, written",
    "network_received_bytes_per_s": "Network, received",
    "network_sent_bytes_per_s": "Network, sent",
}
_GPU_TITLES = {"percent": "", "memory_percent": " memory", "memory_bytes": " memory used"}
_OVER_TIME = ChartSettings(axis=ELAPSED)


@dataclass(frozen=True)
class System:
    """The section. ``labels`` name the nodes where there are several; ``left_out`` is how many of them are not drawn."""

    charts: list[Chart]
    labels: list[str]
    left_out: int


def look(held: Services, run_id: str) -> System:
    """What was measured of the nodes of a run."""
    wanted = Wanted(drawable=True, system=True)
    names = [metric.name for metric in held.metrics.page(run_id, wanted, None, MOST_ON_A_PAGE).metrics]
    measured = [(*parts_of(name), name) for name in names]
    nodes = sorted({node for node, _, _ in measured})
    shown = nodes[:MOST_NODES]
    drawn = [(node, what, name) for node, what, name in measured if node in shown]
    curves: dict[str, list[Curve]] = {}
    if drawn:
        found = held.curves.of([run_id], [name for _, _, name in drawn], columns(len(shown)), ELAPSED)
        by_name = {curve.name: curve for curve in found}
        for node, what, name in drawn:
            if name in by_name:
                curves.setdefault(what, []).append(replace(by_name[name], run_id=str(node)))
    # The nodes take the place of the runs of other charts.
    places = [str(node) for node in shown]
    pictures = [
        chart(_title(what), curves[what], places, _OVER_TIME, _tell(what)) for what in sorted(curves, key=_order)
    ]
    labels = [f"Node {node}" for node in shown] if len(shown) > 1 else []
    return System(pictures, labels, len(nodes) - len(shown))


def _title(what: str) -> str:
    if what.startswith("gpu"):
        gpu, _, of = what.partition("_")
        return f"GPU {gpu[3:]}{_GPU_TITLES.get(of, ' ' + of)}"
    return _TITLES.get(what, words.spaced(what))


def _order(what: str) -> tuple[int, int, str]:
    """Processors, GPUs, and then the others."""
    known = list(_TITLES)
    group = 0 if what == "cpu_percent" else 1 if what.startswith("gpu") else 2
    return group, known.index(what) if what in known else len(known), what


def _tell(what: str) -> Callable[[float], str]:
    if what.endswith("_percent"):
        return lambda value: f"{words.number(value)} %"
    if what.endswith("_bytes_per_s"):
        return lambda value: f"{words.size(round(value))}/s"
    return lambda value: words.size(round(value)) if what.endswith("_bytes") else words.number(value)
