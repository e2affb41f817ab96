"""Scripts that do their worst to whoever keeps their history."""

import pytest

from runyard.job import processes
from runyard.run import Run
from runyard.run_files import log_pieces
from tests.chaos.holds import Gate, eventually
from tests.chaos.judge.aftermath import all_is_well, nothing_is_left
from tests.chaos.judge.verdict import read_journals
from tests.chaos.judge.witness import line
from tests.chaos.report import Row
from tests.chaos.yard import Yard

DRIVER_LOG = "azureml-logs/70_driver_log.txt"

DAEMON = """
import subprocess
daemon = '''
import os, signal, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write({said}, str(os.getpid()).encode() + b"\\\\n")
        os.closerange(0, {said} + 1)
        os.chdir("/")
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        while True:
            signal.pause()
    os._exit(0)
os.wait()
'''
def start(environment):
    mine, its = os.pipe()
    subprocess.run([sys.executable, "-S", "-c", daemon.format(said=its)], env=environment, pass_fds=[its], check=True)
    w.tell(os.read(mine, 20).decode().strip())
    os.close(mine), os.close(its)
"""


def stored_bytes(run: Run) -> int:
    return {entry["name"]: entry["size"] for entry in run._call("GET", "logs")}.get(DRIVER_LOG, 0)


@pytest.mark.chaos("1,000,000 lines, then os._exit(1)", "Running")
def test_the_last_of_a_million_lines_before_a_hard_exit_is_kept(yard: Yard, row: Row) -> None:
    witness = yard.witness_folder()
    run = yard.submit(
        "w.points(1000, each=False); w.file('outputs/model')\n"
        "w.wait('begins')\nw.lines(1_000_000, each=False)\nos._exit(1)\n",
        witness,
    )
    gate = Gate(witness, "begins")
    gate.reached()
    script = yard.script_pid(run)
    gate.open()
    eventually(lambda: not processes.is_alive(script), "the script's end", within_s=300.0)
    row.seconds = yard.end_of(run)
    cause = yard.cause(run)
    assert (run.status, cause["code"], cause["exit_code"]) == ("Failed", "script_failed", 1)
    row.outcome = "Failed: exit code 1"
    all_is_well(yard, row, run, witness)


@pytest.mark.chaos("the script leaves daemons, one without any environment", "Running")
def test_daemons_of_a_script_end_with_it(yard: Yard, row: Row) -> None:
    witness = yard.witness_folder()
    work = "w.wait('started')\nw.lines(10); w.points(10); w.file('outputs/a')\n"
    run = yard.submit(DAEMON + "start(None); start({})\n" + work, witness)
    gate = Gate(witness, "started")
    gate.reached()
    daemons = [int(text) for text in read_journals(witness)[0].told]
    assert [processes.is_alive(pid) for pid in daemons] == [True, True]
    gate.open()
    row.seconds = yard.end_of(run)
    assert [pid for pid in daemons if processes.is_alive(pid)] == []
    assert run.status == "Completed"
    row.outcome = "Completed; both were ended"
    all_is_well(yard, row, run, witness)


@pytest.mark.chaos("the script deletes its own log", "Running")
def test_a_log_whose_name_the_script_deletes_is_kept_to_its_last_byte(yard: Yard, row: Row) -> None:
    witness = yard.witness_folder()
    run = yard.submit(
        "import shutil\nw.lines(10)\nshutil.rmtree('../logs'); w.lines(10)\nw.points(10); w.file('outputs/a')\n",
        witness,
    )
    row.seconds = yard.end_of(run)
    assert run.status == "Completed"
    row.outcome = "Completed"
    all_is_well(yard, row, run, witness)


@pytest.mark.chaos("the script empties its own log", "Running")
def test_a_log_that_the_script_empties_keeps_what_was_shipped_and_says_so(yard: Yard, row: Row) -> None:
    witness = yard.witness_folder()
    run = yard.submit(
        "w.lines(10)\nw.wait('shipped')\nos.truncate('../logs/' + 'azureml-logs/70_driver_log.txt', 0)\n"
        "w.wait('emptied')\nprint('after', flush=True)\n",
        witness,
    )
    gate = Gate(witness, "shipped")
    gate.reached()
    lines = "".join(line(0, number) for number in range(10)).encode()
    eventually(lambda: stored_bytes(run) == len(lines), "the lines on the server")
    gate.open()
    gate = Gate(witness, "emptied")
    gate.reached()
    gate.open()
    row.seconds = yard.end_of(run)
    assert run.status == "Completed"
    assert b"".join(log_pieces(run, DRIVER_LOG)) == lines
    assert [text for text in run._refresh()["warnings"] if "was cut by the script" in text]
    assert not run.verify()["ok"]
    row.outcome = "Completed, with a warning; verify() says no"
    row.history = "what was shipped before it was emptied"
    nothing_is_left(yard, row)


@pytest.mark.chaos("the script closes file descriptors 0, 1 and 2", "Running")
def test_a_script_without_output_goes_on_to_its_end(yard: Yard, row: Row) -> None:
    witness = yard.witness_folder()
    run = yard.submit(
        "w.lines(10)\n[os.close(descriptor) for descriptor in (0, 1, 2)]\n"
        "w.points(10); w.file('outputs/a')\nos._exit(0)\n",
        witness,
    )
    row.seconds = yard.end_of(run)
    assert run.status == "Completed"
    row.outcome = "Completed"
    all_is_well(yard, row, run, witness)
