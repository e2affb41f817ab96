"""Long histories without the time to make them: finished runs copied in the database, with all that they are found by."""

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.programs.copied_rows import copy_rows

if TYPE_CHECKING:
    from runyard import Workspace

EXPERIMENT = "copied"
_FAR = 1_000_000  # more than there are chunks of one run


def database_of(workspace: "Workspace") -> str:
    """The file of the workspace's records."""
    from runyard_server.settings import Settings

    assert workspace.folder is not None
    folder = Path(workspace.folder)
    return Settings(home=folder, environments=folder).database_url.partition("///")[2]


def copy_run(workspace: "Workspace", run_id: str, count: int, first: int = 0, with_points: bool = False) -> list[str]:
    """Copies a finished run with its events, jobs, metric summaries and what it is found by; each has its own numbers.

    All copies are in one experiment, EXPERIMENT, where they cost most.

    Args:
        first: the number of the first copy; each number is given once.
        with_points: the points of its metrics, too. They are all alike then, and so are the summaries.
    Returns:
        The ids of the copies.
    """
    from runyard_server.records.tables import (
        experiments,
        jobs,
        metric_chunks,
        metric_outlines,
        metric_summaries,
        run_events,
        run_facts,
        run_words,
        runs,
    )

    copy_of = {"run_id": "run_id || '-' || i", "number": "i + 10", "created_at": "created_at - 1e6 + i"}
    copy_of["experiment_id"] = f"'{EXPERIMENT}'"
    if not with_points:
        copy_of |= dict.fromkeys(("last", "min", "max"), "abs(random()) / 9.3e18")
    tables = [(runs, "id = ?", {"id": "id || '-' || i"}), (run_events, "run_id = ?", {"id": "NULL"})]
    tables += [(table, "run_id = ?", {}) for table in (jobs, metric_summaries, run_facts, run_words)]
    if with_points:
        tables.append((metric_chunks, "run_id = ?", {"id": f"id + (i + 1) * {_FAR}"}))
        of_run = "chunk_id IN (SELECT id FROM metric_chunks WHERE run_id = ?)"
        tables.append((metric_outlines, of_run, {"chunk_id": f"chunk_id + (i + 1) * {_FAR}"}))
    with sqlite3.connect(database_of(workspace), timeout=60) as connection:
        connection.execute("PRAGMA foreign_keys=ON")
        named = [column.name for column in experiments.columns]
        home = ", ".join("?" if name in ("id", "name") else name for name in named)
        connection.execute(
            f"INSERT OR IGNORE INTO experiments ({', '.join(named)}) SELECT {home} FROM experiments LIMIT 1",
            (EXPERIMENT, EXPERIMENT),
        )
        for table, here, ids in tables:
            of_table = copy_of if "run_id" in table.columns or table is runs else {}  # an outline has a last step
            copy_rows(connection, table.name, here, run_id, {**of_table, **ids}, count, first)
    connection.close()
    return [f"{run_id}-{number}" for number in range(first, first + count)]
