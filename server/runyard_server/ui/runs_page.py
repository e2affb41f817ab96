"""What the page of the table of runs shows: its rows, its columns, and the addresses behind its titles."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from runyard.errors import UserErrorException
from runyard.protocol.runs import RunRecord
from runyard_server.domain.filters.parser import parse_field
from runyard_server.domain.filters.tree import Field, Source
from runyard_server.services.container import Services
from runyard_server.services.run_table import Cell, Table, TableRequest, arguments, read_order
from runyard_server.ui import words

ROWS = 100
METRIC_COLUMNS = 3  # where nobody has chosen any
_LOOKED_AT = 25  # runs whose metrics are offered as columns
_OFFERED = 40  # of each kind


@dataclass(frozen=True)
class Asked:
    """What the page's address says."""

    filter: str = ""
    experiment: str = ""
    status: str = ""
    sort: str = ""
    columns: tuple[str, ...] = ()
    after: str = ""
    view: str = "active"  # or "archived", "all"

    @property
    def narrows(self) -> bool:
        return bool(self.filter or self.experiment or self.status or self.view != "active")

    def address(self) -> str:
        said = [("filter", self.filter), ("experiment", self.experiment), ("status", self.status), ("sort", self.sort)]
        said += [("column", column) for column in self.columns] + [("after", self.after)]
        said += [("view", self.view)] * (self.view != "active")
        query = urlencode([(key, value) for key, value in said if value])
        return f"/runs?{query}" if query else "/runs"

    def compared(self) -> list[tuple[str, str]]:
        """What the page that compares all of the table's runs is told."""
        said = [("filter", self.filter), ("experiment", self.experiment), ("status", self.status), ("sort", self.sort)]
        said += [("view", self.view)] * (self.view != "active")
        return [("found", "all"), *((key, value) for key, value in said if value)]

    def compare_address(self) -> str:
        return f"/compare?{urlencode(self.compared())}"


@dataclass(frozen=True)
class Title:
    """A column's title. ``direction`` is "ascending" or "descending" where the table is sorted by it, else ""."""

    text: str
    address: str
    direction: str
    right: bool = False


@dataclass(frozen=True)
class View:
    """The page. ``problem`` says what is wrong with what was asked for; there are no rows then.

    ``live``: some of its runs go on, so that it changes without news. ``mark``: see ``Hub.mark``.
    """

    rows: Sequence[tuple[RunRecord, Sequence[str]]]
    status: Title
    name: Title
    chosen: Sequence[Title]
    lasted: Title
    target: Title
    created: Title
    columns: Sequence[str]
    offered: Sequence[tuple[str, Sequence[str]]]
    older: str
    newest: str
    live: bool
    mark: str
    problem: str = ""


def look(held: Services, asked: Asked) -> View:
    """The page of what was asked for."""
    mark = held.hub.mark()  # before the runs are read: what comes meanwhile is news
    problem, table = "", Table([], [], None)
    columns = list(asked.columns)
    try:
        table = _read(held, asked, columns)
    except UserErrorException as fault:
        problem = fault.message
    names = held.metrics.usual_names([run.id for run in table.runs[:_LOOKED_AT]], _OFFERED)
    if not columns and not problem:
        columns = [f"metrics.{_quoted(name)}" for name in names[:METRIC_COLUMNS]]
        table = replace(table, cells=held.run_table.cells(table.runs, columns))
    fields = [_field(column) for column in columns]
    rows = [
        (run, [_text(value, field) for value, field in zip(cells, fields, strict=True)])
        for run, cells in zip(table.runs, table.cells, strict=True)
    ]
    return View(
        rows=rows,
        status=_title(asked, "Status", "status"),
        name=_title(asked, "Run", "name"),
        chosen=[_title(asked, _shown(column), column, True) for column in columns],
        lasted=_title(asked, "Lasted", "duration", True),
        target=_title(asked, "Target", "target"),
        created=_title(asked, "Created", "submitted"),
        columns=columns,
        offered=_offered(table.runs, names, columns),
        older=replace(asked, after=table.next).address() if table.next else "",
        newest=replace(asked, after="").address() if asked.after else "",
        live=any(not run.status.is_terminal for run in table.runs),
        mark=mark,
        problem=problem,
    )


def found(held: Services, asked: Asked, most: int) -> list[str]:
    """The ids of the table's first runs, whatever its page. Raises UserErrorException as ``RunTableService.page`` does."""
    return [run.id for run in _read(held, replace(asked, after=""), (), most).runs]


def _read(held: Services, asked: Asked, columns: Sequence[str], most: int = ROWS) -> Table:
    request = TableRequest(
        asked.filter,
        asked.sort,
        columns,
        asked.experiment or None,
        asked.status or None,
        after=asked.after or None,
        limit=most,
        view=asked.view,
    )
    return held.run_table.page(request)


def _field(column: str) -> Field | None:
    try:
        return parse_field(column)
    except UserErrorException:
        return None


def _title(asked: Asked, text: str, column: str, right: bool = False) -> Title:
    """A click sorts by it, a second one turns the order."""
    field = _field(column)
    order = None
    try:
        order = read_order(asked.sort)
    except UserErrorException:
        pass  # told above the table
    here = order is not None and order.field == field
    turned = f"-{column}" if here and order is not None and order.ascends else column
    if not here and column in ("submitted", "duration", "status"):
        turned = f"-{column}"
    direction = ("ascending" if order.ascends else "descending") if here and order is not None else ""
    return Title(text, replace(asked, sort=turned, after="").address(), direction, right)


def _text(value: Cell, field: Field | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if field is not None and field.source is Source.COLUMN and field.name in ("age", "duration"):
        return words.duration(value)
    if field is not None and field.source is Source.COLUMN and field.name in ("submitted", "started", "ended"):
        return words.utc(value)
    return words.number(float(value))


def _shown(column: str) -> str:
    """The column's name as a title: that of the metric alone, "lr" of arguments.lr."""
    field = _field(column)
    if field is None or field.source is Source.COLUMN:
        return column
    return field.name if field.source is not Source.METRIC or field.part == "last" else f"{field.part} {field.name}"


def _offered(shown: Sequence[RunRecord], names: Sequence[str], columns: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Columns that may be chosen, by kind: what the runs of this page have, and what is chosen already."""
    said = dict.fromkeys(name for run in shown for name in arguments(run))
    tags = dict.fromkeys(name for run in shown for name in run.tags)
    kinds = {
        "Metrics": [f"metrics.{_quoted(name)}" for name in names],
        "Arguments": [f"arguments.{_quoted(name)}" for name in list(said)[:_OFFERED]],
        "Tags": [f"tags.{_quoted(name)}" for name in list(tags)[:_OFFERED]],
        "Others": ["experiment", "by", "number", "started", "ended", "priority"],
    }
    known = {column for offered in kinds.values() for column in offered}
    kinds["Others"] += [column for column in columns if column not in known]
    return [(kind, offered) for kind, offered in kinds.items() if offered]


def _quoted(name: str) -> str:
    plain = name and not any(letter in name for letter in " =<>!~'\"`(),\t\n")
    return name if plain else f"`{name.replace('`', '')}`"
