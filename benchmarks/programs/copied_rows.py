"""A run's rows copied in an SQLite database: a long history without the time to make it. Standard library only."""

import sqlite3
from collections.abc import Mapping


def copy_rows(
    connection: sqlite3.Connection,
    table: str,
    of_run: str,
    run_id: object,
    values: Mapping[str, str],
    count: int,
    first: int = 0,
) -> None:
    """Copies each row of a table that belongs to the run, ``count`` times.

    Args:
        of_run: the condition that picks the run's rows, with ``?`` for its id.
        values: column to the SQL expression of its value in a copy, in which ``i`` is the copy's number; the columns
            that are not named are as they were.
        first: the number of the first copy.
    """
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    listed = ", ".join(f'"{name}"' for name in names)
    copied = ", ".join(values.get(name, f'"{name}"') for name in names)
    connection.execute(
        f"WITH RECURSIVE n(i) AS (SELECT ? UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?) "
        f"INSERT INTO {table} ({listed}) SELECT {copied} FROM {table}, n WHERE {of_run}",
        (first, first + count, run_id),
    )
