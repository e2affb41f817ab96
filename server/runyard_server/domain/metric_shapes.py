"""What was logged, in the shapes that Azure's ``run.get_metrics()`` returns."""

from collections.abc import Iterable, Sequence
from typing import Any

from runyard_server.domain.metric_chunks import Points
from runyard_server.domain.spool_lines import LIST, SCALAR, TABLE, Entry


def shape(type_: str, points: Iterable[Points], entries: Sequence[Entry]) -> Any:
    """One metric's value: all that was logged under its name as its (first) type.

    A scalar logged once is bare, more often a list; lists are joined; rows and tables are a dict of
    columns, where a missing cell is None and a single row's cells are bare; of everything else
    (images, matrices...) one is bare and several are a list.
    """
    same = [entry for entry in entries if entry.type == type_]
    if type_ == SCALAR:
        return _bare_if_one(scalars(points, same))
    if type_ == LIST:
        return [cell for entry in same for cell in entry.value]
    if type_ == TABLE:
        return _table([entry.value for entry in same])
    return _bare_if_one([entry.value for entry in same])


def scalars(points: Iterable[Points], texts: Sequence[Entry]) -> list[Any]:
    """Numbers in the order they came, and texts among them by their time."""
    columns = list(points)
    values = [value for column in columns for value in column.values]
    if not texts:
        return values
    times = [at for column in columns for at in column.times]
    merged = [*zip(times, values, strict=True), *((entry.at, entry.value) for entry in texts)]
    return [value for _, value in sorted(merged, key=lambda item: item[0])]


def dropped(name: str, type_: str, others: Iterable[str]) -> str:
    """The warning that something else was logged under the name of a metric, and is not returned."""
    return (
        f"'{name}' is a metric of type {type_}, and what was logged under the same name as {', '.join(sorted(others))} "
        "is left out. Give each metric a name of its own."
    )


def _bare_if_one(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def _table(entries: Iterable[dict[str, Any]]) -> dict[str, Any]:
    columns: dict[str, list[Any]] = {}
    rows = 0
    for entry in entries:
        cells = {column: value if isinstance(value, list) else [value] for column, value in entry.items()}
        height = max((len(column) for column in cells.values()), default=0)
        for name, column in cells.items():
            before = columns.setdefault(name, [])
            before.extend([None] * (rows - len(before)))
            before.extend(column)
        rows += height
    for column in columns.values():
        column.extend([None] * (rows - len(column)))
    return {name: column[0] if rows == 1 else column for name, column in columns.items()}
