"""The table of the benchmarks: rows that are not measured anew stay in it as they were, with their date."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.measurement import Absent, Figure, Measure, Target  # noqa: E402
from benchmarks.report import Row, as_json, markdown, rows_of  # noqa: E402

MACHINE = {"date": "2026-02-01", "load at the start": "0.1"}
ROW = Row(
    "name",
    "Title",
    "Method.",
    (Measure("rate", "per s", more_is_better=True, target=Target(factor=0.5)), Measure("time", "ms")),
    (Figure("runyard", "rate", (1.0, 2.0, 3.0)), Figure("runyard", "time", (5.0,), "a note")),
    (Figure("floor", "rate", (3.0,)),),
    (Absent("peer", "it is not here"),),
)


def test_a_row_comes_back_as_it_was_written_with_the_date_of_its_run() -> None:
    (kept,) = rows_of(json.loads(json.dumps(as_json([ROW], MACHINE))))
    told = markdown([ROW], {})
    assert kept.earlier == "2026-02-01, load at the start 0.1"
    assert markdown([kept], {}) == told.replace("\nMethod.\n", f"\nMethod.\n\nFrom an earlier run: {kept.earlier}.\n")
    (kept_again,) = rows_of(as_json([kept], {"date": "2026-03-01", "load at the start": "9"}))
    assert kept_again == kept
