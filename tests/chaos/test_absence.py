"""Somebody is not there for a while: the server, the client, the job."""

import os
import signal
import subprocess
import sys

import pytest

from runyard import Experiment, embedded
from runyard.job import processes
from tests.chaos.clocked import clocked_server
from tests.chaos.holds import Gate, eventually
from tests.chaos.judge.aftermath import all_is_well, ends_well
from tests.chaos.report import Row
from tests.chaos.yard import Yard

MIB = 1 << 20
SENDS_A_LARGE_FOLDER = """
import sys
from runyard import Environment, Experiment, ScriptRunConfig, Workspace
environment = Environment("chaos")
environment.python.user_managed_dependencies = True
environment.python.interpreter_path = sys.executable
workspace = Workspace.get(sys.argv[1])
Experiment(workspace, "killed").submit(ScriptRunConfig(sys.argv[2], "train.py", environment=environment))
"""


@pytest.mark.chaos("the server is away for the whole run and comes back", "Running")
def test_a_run_without_a_server_is_whole_when_one_is_back(yard: Yard, row: Row) -> None:
    witness = yard.witness_folder()
    run = yard.submit(
        "w.wait('first')\nw.lines(5000, each=False); w.points(3000, each=False); w.file('outputs/a', 300_000)\n",
        witness,
    )
    gate = Gate(witness, "first")
    gate.reached()
    script = yard.script_pid(run)
    yard.kill_server()
    gate.open()
    eventually(lambda: not processes.is_alive(script), "the script's end")
    yard.workspace.get_details()  # starts a server, which may take long on a busy machine
    row.seconds = yard.end_of(run)
    row.outcome = "Completed"
    ends_well(yard, row, run, witness)


@pytest.mark.chaos("kill -9 of a client that sends its code", "NotStarted")
def test_a_client_killed_while_it_sends_leaves_nothing(yard: Yard, row: Row) -> None:
    witness = yard.witness_folder()
    source = yard.source("w.lines(10); w.points(10); w.file('outputs/a')\n", witness)
    with open(source / "large", "wb") as large:
        large.truncate(256 * MIB)
    assert yard.workspace.name
    incoming = yard.folder / "objects" / "incoming"

    def arriving() -> int:
        return sum(path.stat().st_size for path in incoming.glob("*/*") if path.exists())

    with open(witness / "client.log", "wb") as log:
        client = subprocess.Popen(
            [sys.executable, "-c", SENDS_A_LARGE_FOLDER, yard.name, str(source)],
            stderr=log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
    eventually(lambda: arriving() > MIB, "the first bytes of the large file")
    client.kill()
    assert client.wait() == -signal.SIGKILL
    eventually(lambda: arriving() == 0, "nothing half-written")
    assert not [each for each in Experiment.list(yard.workspace) if each.name == "killed"]
    row.outcome = "no run, nothing half-written"
    os.truncate(source / "large", MIB)
    run = yard.submit("w.lines(10); w.points(10); w.file('outputs/a')\n", yard.witness_folder())
    ends_well(yard, row, run, yard.root / f"witness-{yard._made}")


@pytest.mark.chaos("SIGSTOP of the job for a minute, then SIGCONT", "Running")
def test_a_job_that_stands_still_is_not_responding_until_it_goes_on(yard: Yard, row: Row) -> None:
    assert yard.workspace.name
    embedded.stop(str(yard.folder))
    with clocked_server(yard.folder) as clock:
        witness = yard.witness_folder()
        run = yard.submit("w.lines(50); w.points(30)\nw.wait('stopped')\nw.lines(50); w.file('outputs/a')\n", witness)
        gate = Gate(witness, "stopped")
        gate.reached()
        yard.until(run, "Running")
        job = yard.job_pid(run)
        os.kill(job, signal.SIGSTOP)
        eventually(lambda: (found := processes.look_up(job)) is not None and found.state == "T", "a job that stands")
        clock.advance(minutes=1)
        yard.until(run, "NotResponding")
        os.kill(job, signal.SIGCONT)
        yard.until(run, "Running")
        gate.open()
        row.seconds = yard.end_of(run)
        assert yard.story(run)[3:] == ["Running", "NotResponding", "Running", "Finalizing", "Completed"]
        row.outcome = "NotResponding, then Running, then Completed"
        all_is_well(yard, row, run, witness)


@pytest.mark.chaos("kill -9 of the server, three times while 1,000,000 points of a metric come", "Running")
def test_a_million_points_are_whole_though_their_server_was_killed_three_times(yard: Yard, row: Row) -> None:
    witness = yard.witness_folder()
    part = "w.points(250_000, each=False)\n"
    run = yard.submit(part + "".join(f"w.wait('gate-{number}')\n{part}" for number in range(3)), witness)
    for number in range(3):
        gate = Gate(witness, f"gate-{number}")
        gate.reached(within_s=300.0)
        gate.open()  # the next points come while no server is there, and while one starts
        yard.kill_server()
        yard.look(run)
    row.seconds = None
    yard.end_of(run, within_s=600.0)
    row.outcome = "goes on, Completed"
    ends_well(yard, row, run, witness)
