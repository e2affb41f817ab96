import os
import select
import sys
from collections.abc import Iterator

import pytest

from runyard_server.executors.standby import Standby, hand_over

# Waits for its line, as a job does that stands by.
WAITING = [sys.executable, "-S", "-c", "import sys; sys.stdin.readline()"]


@pytest.fixture
def standby() -> Iterator[Standby]:
    standby = Standby(WAITING, dict, count=2, most=4)
    yield standby
    standby.close()


def crowd(standby: Standby, size: int) -> int:
    """Takes ``size`` processes in one instant; how many were ready."""
    taken = [standby.take() for _ in range(size)]
    ready = [process for process in taken if process is not None]
    for process in ready:
        assert hand_over(process, b"line\n")
        process.wait()
    return len(ready)


def wait_for_end(pid: int | None) -> None:
    if pid is None:
        return  # it has been ended already
    try:
        ended = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    assert select.select([ended], [], [], 120)[0]
    os.close(ended)


def test_after_a_crowd_as_many_stand_by_as_it_lacked(standby: Standby) -> None:
    standby.prepare()
    assert crowd(standby, 3) == 2
    standby.prepare()
    assert crowd(standby, 3) == 3


def test_a_crowd_of_any_size_makes_only_so_many_stand_by(standby: Standby) -> None:
    standby.prepare()
    assert crowd(standby, 50) == 2
    standby.prepare()
    assert crowd(standby, 50) == 4


def test_one_submission_after_the_other_changes_nothing(standby: Standby) -> None:
    for _ in range(3):
        standby.prepare()
        assert crowd(standby, 1) == 1
    standby.prepare()
    assert crowd(standby, 10) == 2


def test_those_beyond_the_usual_end_when_no_crowd_comes_any_more(standby: Standby) -> None:
    standby.prepare()
    crowd(standby, 4)
    standby.prepare()
    standby.relax()
    standby.prepare()
    assert crowd(standby, 4) == 2


def test_the_end_of_a_crowd_comes_by_itself() -> None:
    standby = Standby(WAITING, dict, count=0, most=1, rest_s=0.01)
    assert crowd(standby, 1) == 0
    standby.prepare()
    wait_for_end(standby.pid)
    assert crowd(standby, 1) == 0
    standby.close()
