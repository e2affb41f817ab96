"""Memory and CPU time of a process and everything that it started, from /proc."""

import os
import time
from pathlib import Path


def pss_mib(pid: int) -> float:
    """Proportional set size of a process tree in MiB. Shared pages are divided among their users."""
    return sum(_pss_kib(process) for process in _tree(pid)) / 1024


def settle(pid: int, patience_s: float = 30.0) -> None:
    """Waits until a process tree is idle: less than a twentieth of one core over half a second.

    A server may answer while the rest of its processes still start; they would share the cores with what is measured.
    """
    deadline = time.monotonic() + patience_s
    before = _cpu_s(pid)
    while time.monotonic() < deadline:
        time.sleep(0.5)
        now = _cpu_s(pid)
        if now - before < 0.025:
            return
        before = now


def _cpu_s(root: int) -> float:
    ticks = 0
    for pid in _tree(root):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in parentheses may hold spaces; the parent follows the state after it.
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    tree, waiting = [], [root]
    while waiting:
        process = waiting.pop()
        tree.append(process)
        waiting += children.get(process, [])
    return tree


def _pss_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
