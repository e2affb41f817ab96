"""The page shows the suite: every case has its row, and no row is of a case that is gone."""

import subprocess
import sys

from tests.chaos.yard import with_path


def test_every_case_has_its_row_in_the_page() -> None:
    # A collection of its own, so that the answer does not depend on which tests were asked for.
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.table", "--check", "-p", "no:cacheprovider"],
        env=with_path(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr + done.stdout
