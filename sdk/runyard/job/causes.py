"""Why a rank failed, in words: its exit, its traceback, and what the node knows of memory and disk."""

import os
import re
import signal
from typing import Optional

from runyard.distributed.mpi import before_abort
from runyard.job import out_of_memory
from runyard.protocol.jobs import RankReport
from runyard.protocol.run_parts import RunError
from runyard.protocol.status import Reason

_TAIL_BYTES = 65536
_TRACEBACK = "Traceback (most recent call last):"
_FULL_BYTES = 64 << 10  # less than this free is a full disk: some file systems keep a few blocks back

OUT_OF_MEMORY = (
    "The kernel ended the script for lack of memory (SIGKILL by its out-of-memory killer). Use smaller batches or "
    "fewer workers, or a machine or a limit with more memory."
)
POSSIBLY_OUT_OF_MEMORY = (
    "The script was ended by SIGKILL: possibly for lack of memory, which this system does not tell for certain."
)


def error_of(rank: RankReport, memory: str, group_was_hit: bool, disk: str, log: int) -> RunError:
    """The error of a rank that failed.

    Args:
        memory: what ``MemoryWatch.verdict`` said of it, where a SIGKILL ended it.
        group_was_hit: whether the kernel has ended some process beside it for lack of memory.
        disk: a sentence about a full disk, "" where it is not full.
        log: descriptor of its output.
    """
    if rank.signal == signal.Signals.SIGKILL.name and memory == out_of_memory.KNOWN:
        return RunError(code=Reason.OUT_OF_MEMORY.value, message=OUT_OF_MEMORY, rank=rank.rank, signal=rank.signal)
    trace = traceback_in(log)
    if rank.signal:
        message = "The script was ended by {}.".format(rank.signal)
        if rank.signal == signal.Signals.SIGKILL.name and memory == out_of_memory.POSSIBLE:
            message = POSSIBLY_OUT_OF_MEMORY
        return RunError(
            code=Reason.SIGNALED.value, message=message, rank=rank.rank, signal=rank.signal, traceback=trace
        )
    last = trace.strip().splitlines()[-1] if trace else ""
    message = "The script ended with exit code {}{}".format(rank.exit_code, ": " + last if last else ".")
    if group_was_hit:
        message = _sentence(message, "The kernel has just ended a process beside it for lack of memory.")
    return RunError(
        code=Reason.SCRIPT_FAILED.value,
        message=_sentence(message, disk),
        rank=rank.rank,
        exit_code=rank.exit_code,
        traceback=trace,
    )


def full_disk(folder: str) -> str:
    """A sentence where the disk of ``folder`` has no room left, else ""."""
    try:
        found = os.statvfs(folder)
    except (OSError, AttributeError):
        return ""
    if found.f_blocks == 0 or found.f_bavail * found.f_frsize >= _FULL_BYTES:
        return ""
    return "The disk of the node is full ({}).".format(folder)


def traceback_in(log: int) -> Optional[str]:
    """The last Python traceback in a rank's output."""
    text = before_abort(tail(log))
    start = text.rfind(_TRACEBACK)
    return text[start:].rstrip() if start >= 0 else None


def tail(log: int) -> str:
    """The end of a rank's output."""
    size = os.fstat(log).st_size
    start_at = max(0, size - _TAIL_BYTES)
    return os.pread(log, size - start_at, start_at).decode("utf-8", "replace")


def _sentence(message: str, more: str) -> str:
    if not more:
        return message
    return message + (" " if re.search(r"[.!?]$", message) else ". ") + more
