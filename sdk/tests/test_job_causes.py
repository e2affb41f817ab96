"""Why a rank failed, in words."""

import os

import pytest

from runyard.job import out_of_memory
from runyard.job.causes import error_of, full_disk
from runyard.protocol.jobs import RankReport


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "70_driver_log.txt"
    path.write_bytes(b"")
    descriptor = os.open(str(path), os.O_RDONLY)
    yield path, descriptor
    os.close(descriptor)


def failed(exit_code=None, signal=None):
    return RankReport(rank=2, pid=1, started_at=1.0, ended_at=2.0, exit_code=exit_code, signal=signal)


def test_a_full_disk_is_part_of_why_a_script_failed(log):
    path, descriptor = log
    path.write_text("noise\nTraceback (most recent call last):\nOSError: [Errno 28] No space left on device\n")
    error = error_of(failed(exit_code=1), out_of_memory.NO, False, "The disk of the node is full (/x).", descriptor)
    assert error.message == (
        "The script ended with exit code 1: OSError: [Errno 28] No space left on device. The disk of the node is full (/x)."
    )
    assert (error.code, error.rank, error.exit_code) == ("script_failed", 2, 1)
    assert error.traceback.startswith("Traceback")


def test_a_worker_that_the_kernel_ended_beside_the_script_is_told(log):
    error = error_of(failed(exit_code=1), out_of_memory.NO, True, "", log[1])
    assert error.message == (
        "The script ended with exit code 1. The kernel has just ended a process beside it for lack of memory."
    )


@pytest.mark.parametrize(
    "known, code, says",
    [
        (out_of_memory.KNOWN, "out_of_memory", "The kernel ended the script for lack of memory"),
        (out_of_memory.POSSIBLE, "signaled", "possibly for lack of memory"),
        (out_of_memory.NO, "signaled", "The script was ended by SIGKILL."),
    ],
)
def test_out_of_memory_is_the_cause_only_where_that_is_known(log, known, code, says):
    error = error_of(failed(signal="SIGKILL"), known, known == out_of_memory.KNOWN, "", log[1])
    assert (error.code, error.signal) == (code, "SIGKILL")
    assert says in error.message
    assert ("memory" in error.message) == (known != out_of_memory.NO)


def test_a_log_whose_name_is_gone_still_has_its_traceback(log):
    path, descriptor = log
    path.write_text("Traceback (most recent call last):\nValueError: x\n")
    path.unlink()
    assert error_of(failed(exit_code=1), out_of_memory.NO, False, "", descriptor).traceback.endswith("ValueError: x")


def test_a_disk_with_room_is_not_called_full(tmp_path):
    assert full_disk(str(tmp_path)) == ""
    assert full_disk(str(tmp_path / "gone")) == ""
