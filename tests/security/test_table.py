"""docs/security.md lists the attacks that the tests replay, and no other."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
REPLAYED = {*range(1, 23), *range(24, 35), 36, 37, 40, 42, 44, 45, 46, 49}


def test_the_page_has_the_table_of_the_tests() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "tests.security.table", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert checked.returncode == 0, (
        f"Run `make attacks ARGS=--write`.\n{checked.stdout[-2000:]}{checked.stderr[-2000:]}"
    )


def test_every_attack_of_the_list_is_replayed() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    assert {number for number in range(100) if f"\n| {number} |" in page} == REPLAYED
