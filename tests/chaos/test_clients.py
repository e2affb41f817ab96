"""kill -9 of a process that is itself the run: it started it with ``start_logging``."""

import subprocess
import sys

import pytest

from tests.chaos.holds import Gate
from tests.chaos.judge.aftermath import all_is_well, ends_as
from tests.chaos.report import Row
from tests.chaos.yard import JUDGE, Yard, with_path


@pytest.mark.chaos("kill -9 of the process of an interactive run", "Running")
def test_a_killed_interactive_run_has_failed_and_a_later_client_delivers_what_it_logged(yard: Yard, row: Row) -> None:
    witness = yard.witness_folder()
    assert yard.workspace.name
    client = subprocess.Popen(
        [sys.executable, JUDGE / "interactive.py", yard.name, witness], stdout=subprocess.PIPE, env=with_path()
    )
    assert client.stdout is not None
    with client.stdout as said:
        run = yard.run(said.readline().decode().strip())
        Gate(witness, "here").reached()
        at = yard.kill(client.pid)
    client.wait()
    ends_as(yard, row, run, "client_lost", at)
    row.outcome = "Failed: its process has ended"
    subprocess.run([sys.executable, "-m", "runyard", "sync", "--workspace", yard.name], check=True, env=with_path())
    all_is_well(yard, row, run, witness)
