"""Memory runs out: by the kernel's killer, and at a limit that the process itself meets."""

from collections.abc import Iterator

import pytest

from runyard.job import processes
from tests.chaos.holds import Gate, eventually
from tests.chaos.judge.aftermath import all_is_well
from tests.chaos.limits import memory_group, move_to
from tests.chaos.report import Row
from tests.chaos.yard import Yard

SOME = "w.lines(50); w.points(30); w.file('outputs/before', 70_000)\n"
TAKE_EVERYTHING = "taken = []\nwhile True:\n    taken.append(bytearray(b'x' * (1 << 20)))\n"
# In pieces of so many that what does not fit leaves room for the traceback.
TAKE_MUCH = TAKE_EVERYTHING.replace("1 << 20", "32 << 20")


@pytest.fixture
def little_memory(yard: Yard) -> Iterator[None]:
    """The server, and whatever it starts, in a control group of 400 MB."""
    yard.workspace.get_details()
    with memory_group(400 << 20) as group:
        assert yard.server_pid is not None
        standing = [pid for pid, one in processes.all_processes().items() if one.parent == yard.server_pid]
        move_to(group, [yard.server_pid, *standing])
        yield


@pytest.mark.usefixtures("little_memory")
@pytest.mark.chaos("the kernel's out-of-memory killer", "Running")
def test_a_script_that_the_kernel_ends_for_lack_of_memory_is_told_as_that(yard: Yard, row: Row) -> None:
    witness = yard.witness_folder()
    run = yard.submit(SOME + "w.wait('here')\n" + TAKE_EVERYTHING, witness)
    gate = Gate(witness, "here")
    gate.reached()
    script = yard.script_pid(run)
    gate.open()
    eventually(lambda: not processes.is_alive(script), "the kernel's killer")
    row.seconds = yard.end_of(run)
    cause = yard.cause(run)
    assert (run.status, cause["code"], cause["signal"]) == ("Failed", "out_of_memory", "SIGKILL")
    assert "lack of memory" in cause["message"]
    row.outcome = "Failed: out of memory"
    all_is_well(yard, row, run, witness)


@pytest.mark.chaos("a limit of memory (RLIMIT_AS)", "Running")
def test_a_script_that_meets_its_limit_of_memory_fails_with_its_own_words(yard: Yard, row: Row) -> None:
    witness = yard.witness_folder()
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (300 << 20, 300 << 20))\n"
    run = yard.submit(SOME + limit + TAKE_MUCH, witness)
    row.seconds = yard.end_of(run)
    cause = yard.cause(run)
    assert (run.status, cause["code"], cause["exit_code"]) == ("Failed", "script_failed", 1)
    assert cause["message"] == "The script ended with exit code 1: MemoryError"
    assert "taken.append" in cause["traceback"]
    row.outcome = "Failed: exit code 1: MemoryError"
    all_is_well(yard, row, run, witness, behind=cause["traceback"] + "\n")
