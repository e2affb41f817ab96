"""Pictures, tables and matrices that a run logged, on its page: where each picture is got, and the charts of the lines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from runyard.protocol import exhibits
from runyard.protocol.exhibits import Matrix, Plot, Sheet
from runyard_server.domain.sheets import ROW
from runyard_server.services.container import Services
from runyard_server.services.curves import Curve
from runyard_server.services.metrics import MetricSummary
from runyard_server.ui.chart_settings import USUAL
from runyard_server.ui.charts import Chart, chart
from runyard_server.ui.previews import PICTURE_BYTES

_ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".webp")


@dataclass(frozen=True)
class Picture:
    """A picture that was logged. ``address`` gives its bytes, "" where it cannot be drawn; ``page`` shows it alone."""

    address: str
    page: str
    caption: str
    at: float


@dataclass(frozen=True)
class Figure:
    """A chart with the names of its lines; none where it has but one."""

    chart: Chart
    labels: Sequence[str]


@dataclass(frozen=True)
class Exhibit:
    """One of them, as the page has it; see ``protocol/exhibits.py``."""

    name: str
    kind: str
    description: str
    note: str
    pictures: Sequence[Picture]
    figures: Sequence[Figure]
    sheet: Sheet | None
    matrix: Matrix | None


@dataclass(frozen=True)
class Exhibits:
    """Those of a run that are looked for, by name; ``more`` are not shown."""

    shown: Sequence[Exhibit]
    more: int


def look(
    held: Services,
    run_id: str,
    search: str,
    files: Callable[[], Mapping[str, int]],
    known: Sequence[MetricSummary] | None = None,
) -> Exhibits:
    """What is shown of a run.

    Args:
        search: a part of the names.
        files: gives the sizes of the run's files by path; asked for where there are pictures.
        known: all of the run's metrics that have ``search`` in their names, where they were read already.
    """
    found = held.exhibits.of(run_id, search, known=known, files=files)
    return Exhibits([_on_page(run_id, one) for one in found.shown], found.more)


def _on_page(run_id: str, one: exhibits.Exhibit) -> Exhibit:
    return Exhibit(
        name=one.name,
        kind=one.kind,
        description=one.description,
        note=one.note,
        pictures=[_picture(run_id, picture) for picture in one.pictures],
        figures=[_figure(plot) for plot in one.plots],
        sheet=one.sheet,
        matrix=one.matrix,
    )


def _picture(run_id: str, picture: exhibits.Picture) -> Picture:
    if not picture.path:
        return Picture("", "", f"{picture.caption}: its file is not here", picture.at)
    root, path = f"/runs/{quote(run_id, safe='')}", quote(picture.path)
    drawn = picture.path.lower().endswith(_ENDINGS) and picture.size_bytes <= PICTURE_BYTES
    return Picture(f"{root}/pictures/{path}" if drawn else "", f"{root}/files/{path}", picture.caption, picture.at)


def _figure(plot: Plot) -> Figure:
    places = [str(place) for place in range(len(plot.strokes))]
    curves = [
        Curve(place, plot.title, ROW, len(one.xs), list(one.xs), list(one.ys), [])
        for place, one in zip(places, plot.strokes, strict=True)
    ]
    labels = [one.label for one in plot.strokes] if len(plot.strokes) > 1 else []
    return Figure(chart(plot.title, curves, places, USUAL, axis_title=plot.axis), labels)
