"""What a run logged that is no number, as pages and notebooks show it: pictures, lists, tables, matrices."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runyard.protocol.exhibits import Exhibit, Exhibits, Picture
from runyard_server.domain import documents, sheets
from runyard_server.domain.documents import Shown, UnlikeAzures
from runyard_server.domain.metric_shapes import shape
from runyard_server.domain.spool_lines import (
    ACCURACY_TABLE,
    CONFUSION_MATRIX,
    IMAGE,
    LIST,
    PREDICTIONS,
    RESIDUALS,
    TABLE,
    Entry,
)
from runyard_server.services.files import FileService
from runyard_server.services.metrics import MetricService, MetricSummary, Newest, Wanted

MOST = 12  # at once
MOST_PICTURES = 8  # of one name, the newest
MOST_ENTRIES = 1000  # of one table: rows that came one by one
MOST_CELLS = 200_000  # of one table, counting those that are empty: a short text can make millions of them
CHARACTERS = 4 << 20  # of what is read of one
_IN_ALL = 8 << 20  # of all at once

_DOCUMENTS: Mapping[str, Callable[[Any], Shown]] = {
    CONFUSION_MATRIX: documents.confusion_matrix,
    ACCURACY_TABLE: documents.accuracy_table,
    RESIDUALS: documents.residuals,
    PREDICTIONS: documents.predictions,
}


_TOO_LARGE = "It is too large for a page: run.get_metrics() gives it to a program."


class ExhibitService:
    """Reads the newest of what was logged, and no more than can be shown."""

    def __init__(self, metrics: MetricService, files: FileService) -> None:
        self._metrics = metrics
        self._files = files

    def of(
        self,
        run_id: str,
        search: str = "",
        most: int = MOST,
        known: Sequence[MetricSummary] | None = None,
        files: Callable[[], Mapping[str, int]] | None = None,
    ) -> Exhibits:
        """What is shown of a run.

        Args:
            search: a part of the names.
            known: all of the run's metrics that have ``search`` in their names, where they were read already.
            files: gives the sizes of the run's files by path, where they were read already.
        """
        if known is None:
            page = self._metrics.page(run_id, Wanted(search, exhibits=True), None, most)
            metrics, count = page.metrics, page.count
        else:
            every = [metric for metric in known if metric.is_exhibit]
            metrics, count = every[:most], len(every)
        sizes: Mapping[str, int] = {}
        if any(metric.type == IMAGE for metric in metrics):
            sizes = files() if files else {file.path: file.size for file in self._files.list(run_id)}
        room = _IN_ALL
        found = []
        for metric in metrics:
            entries = MOST_PICTURES if metric.type == IMAGE else MOST_ENTRIES if metric.type in (TABLE, LIST) else 1
            newest = self._metrics.newest(run_id, metric.name, metric.type, entries, min(CHARACTERS, room))
            is_full = room < CHARACTERS
            room -= newest.characters
            found.append(_exhibit(run_id, metric, newest, sizes, is_full))
        return Exhibits(found, count - len(found))


def _cells(type_: str, entries: Sequence[Entry]) -> int:
    """How many cells a table or list of the entries has, with those that are empty: columns may differ in length."""
    if type_ == LIST:
        return sum(len(entry.value) if isinstance(entry.value, list) else 1 for entry in entries)
    columns = {name for entry in entries if isinstance(entry.value, dict) for name in entry.value}
    return len(columns) * sum(
        max((len(cells) if isinstance(cells, list) else 1 for cells in entry.value.values()), default=0)
        for entry in entries
        if isinstance(entry.value, dict)
    )


def _exhibit(run_id: str, metric: MetricSummary, newest: Newest, files: Mapping[str, int], is_full: bool) -> Exhibit:
    kind = metric.type.rpartition(".")[2]
    known = (metric.name, kind.replace("_", " "), metric.description or "")
    if not newest.entries:
        if not metric.summary.count:
            return Exhibit(*known, note="Nothing is stored under this name.")
        return Exhibit(*known, note="The others fill the page: find it by its name." if is_full else _TOO_LARGE)
    count = metric.summary.count
    if metric.type == IMAGE:
        first = count - len(newest.entries) + 1
        pictures = [
            _picture(
                run_id, entry.value, f"step {entry.step}" if entry.step is not None else f"no. {place}", entry.at, files
            )
            for place, entry in enumerate(newest.entries, first)
        ]
        note = f"the newest {len(pictures)} of {count:,}; all are among the files" if count > len(pictures) else ""
        return Exhibit(*known, note, pictures=pictures)
    if metric.type in (TABLE, LIST):
        if _cells(metric.type, newest.entries) > MOST_CELLS:
            return Exhibit(*known, note=_TOO_LARGE)
        grows = count > 1
        value = shape(metric.type, (), newest.entries)
        columns = sheets.columns_of({"value": value} if metric.type == LIST else value)
        table = sheets.sheet(columns, grows)
        cut = f"of the last {len(newest.entries):,} of {count:,} entries" if count > len(newest.entries) else ""
        note = " ".join(said for said in (table.note, cut) if said)
        return Exhibit(
            *known, note, plots=sheets.plots(metric.name, columns, grows or metric.type == LIST), sheet=table
        )
    draw = _DOCUMENTS.get(metric.type)
    value = newest.entries[-1].value
    if draw is None:
        return Exhibit(*known, _of(count), sheet=sheets.sheet({"value": [json.dumps(value)]}))
    try:
        drawn = draw(value.get("data") if isinstance(value, dict) else None)
    except UnlikeAzures as fault:
        return Exhibit(*known, note=f"It cannot be drawn: {fault}.")
    note = ", ".join(said for said in (drawn.note, _of(count)) if said)
    return Exhibit(*known, note, plots=drawn.plots, sheet=drawn.sheet, matrix=drawn.matrix)


def _of(count: int) -> str:
    return f"the newest of {count:,} entries" if count > 1 else ""


def _picture(run_id: str, location: Any, caption: str, at: float, files: Mapping[str, int]) -> Picture:
    """A picture by its artifact location; what is no file of this run is nowhere."""
    head = f"aml://artifactId/ExperimentRun/dcid.{run_id}/"
    path = location[len(head) :] if isinstance(location, str) and location.startswith(head) else ""
    return Picture(path, files[path], caption, at) if path in files else Picture("", 0, caption, at)
