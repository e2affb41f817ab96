"""Lists, sorts and filters a long history in trackio's local database. Argument: runs.

Its own interface lists runs, without their metrics; for all else its command line takes SQL.
"""

import json
import sqlite3
import sys
from contextlib import closing

import trackio
from copied_rows import copy_rows
from stopwatch import call_times, report
from trackio.sqlite_storage import SQLiteStorage

PROJECT = "history"
count = int(sys.argv[1])
trackio.init(project=PROJECT, name="first", config={"rate": 0.1}, embed=False, auto_log_gpu=False, auto_log_cpu=False)
trackio.log({"loss": 0.5})
trackio.finish()
with closing(sqlite3.connect(SQLiteStorage.get_project_db_path(PROJECT), timeout=60)) as connection, connection:
    other = {"id": "NULL", "run_id": "run_id || '-' || i", "run_name": "run_name || '-' || i"}
    copy_rows(connection, "configs", "run_name = ?", "first", other, count - 1)
    value = """'{"loss": ' || (abs(random()) / 9.3e18) || '}'"""
    copied = {**other, "metrics": value, "log_id": "log_id || '-' || i"}
    copy_rows(connection, "metrics", "run_name = ?", "first", copied, count - 1)


def sql(rest: str) -> list[float]:
    asked = "SELECT run_name, json_extract(metrics, '$.loss') AS loss FROM metrics " + rest + " LIMIT 100"
    return call_times(lambda: json.dumps(SQLiteStorage.query_project(PROJECT, asked)))


report(
    {
        "list": call_times(lambda: [run.name for run in trackio.Api().runs(PROJECT)[:100]]),
        "first page": sql("ORDER BY timestamp DESC"),
        "sort": sql("ORDER BY loss"),
        "filter": sql("WHERE loss < 0.001"),
        "free text": sql("WHERE run_name LIKE '%nowhere%'"),
    }
)
