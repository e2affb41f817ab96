"""Insert-or-replace by primary key, in the words of either database."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table

_ROWS = 500  # per statement: every row brings its parameters, and SQLite takes 32,766 of them


def put(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts ``rows``; where one of the same primary key is there, its other columns are replaced."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]
    keys = [column.name for column in table.primary_key]
    for start in range(0, len(rows), _ROWS):
        some = [dict(row) for row in rows[start : start + _ROWS]]
        statement = insert(table).values(some)
        replaced = {name: statement.excluded[name] for name in some[0] if name not in keys}
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=replaced))
