"""Whether the kernel ended a process for lack of memory: told only where the kernel itself says so.

A SIGKILL has no sender that could be asked. What the kernel leaves are its log, which names the
process but is often not for us to read; a counter of the control group that holds this process and
its ranks; and a counter of the whole machine, which may mean somebody else's process.
"""

import errno
import os
import re
import time
from typing import Dict, Optional, Tuple

KNOWN = "known"  # the kernel names it, or has just ended a process of our control group
POSSIBLE = "possible"  # the kernel has just ended some process of the machine, or does not tell
NO = "no"

_HOST_PID_NAMESPACE = 0xEFFFFFFC  # the kernel's own inode number for it: elsewhere its log counts other pids
_KILLED = re.compile(rb"Killed process (\d+) ")
_LOG_CLOCK_S = 5.0  # how far the log's clock may be from ours
_RECORD_BYTES = 8192

Counts = Tuple[Optional[int], Optional[int]]


class MemoryWatch:
    """Looks at the kernel's counters now and then, and answers for a process that a SIGKILL ended.

    ``look`` is called every few seconds: an earlier death by another cause is then not taken for ours.

    Args:
        root: where ``proc``, ``sys`` and ``dev`` are.
    """

    def __init__(self, root: str = "/") -> None:
        self._root = root
        self._began = time.monotonic()
        self._before = self._latest = self._counts()

    def look(self) -> None:
        """Forgets what was counted before the last look."""
        self._before, self._latest = self._latest, self._counts()

    def verdict(self, pid: int) -> str:
        """KNOWN, POSSIBLE or NO for the process ``pid``, which a SIGKILL has just ended."""
        named = self._named_in_log(pid)
        if named is not None:
            return KNOWN if named else NO
        (group_before, machine_before), (group, machine) = self._before, self._counts()
        if _grew(group_before, group):
            return KNOWN
        if machine is None:
            return POSSIBLE if group is None else NO
        return POSSIBLE if _grew(machine_before, machine) else NO

    def touched_the_group(self) -> bool:
        """Whether the kernel has lately ended some process of the control group."""
        return _grew(self._before[0], self._counts()[0])

    def _counts(self) -> Counts:
        return self._group_count(), _oom_kills(self._path("proc/vmstat"))

    def _group_count(self) -> Optional[int]:
        """How often a process of our control group was ended; None where the system does not tell."""
        groups = _groups(self._path("proc/self/cgroup"))
        if "memory" in groups:
            root, name = "sys/fs/cgroup/memory", "memory.oom_control"
            own = groups["memory"]
        elif "" in groups:
            root, name = "sys/fs/cgroup", "memory.events"
            own = groups[""]
        else:
            return None
        for folder in (own.strip("/"), ""):  # a container may show its own group as the root
            count = _oom_kills(self._path(os.path.join(root, folder, name)))
            if count is not None:
                return count
        return None

    def _named_in_log(self, pid: int) -> Optional[bool]:
        """Whether the kernel's log names the process; None where it cannot be read or does not reach back."""
        try:
            if os.stat(self._path("proc/self/ns/pid")).st_ino != _HOST_PID_NAMESPACE:
                return None
            log = os.open(self._path("dev/kmsg"), os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            return _named(log, pid, self._began - _LOG_CLOCK_S)
        except OSError:
            return None
        finally:
            os.close(log)

    def _path(self, path: str) -> str:
        return os.path.join(self._root, path)


def _named(log: int, pid: int, since: float) -> Optional[bool]:
    """Reads ``/dev/kmsg``: a record per read, ``<priority>,<number>,<microseconds>,<flags>;<text>``."""
    reaches_back = False
    while True:
        try:
            record = os.read(log, _RECORD_BYTES)
        except BlockingIOError:
            record = b""
        except OSError as fault:
            if fault.errno != errno.EPIPE:  # that one was overwritten while we read
                raise
            continue
        if not record:
            return False if reaches_back else None
        head, _, text = record.partition(b";")
        at = int(head.split(b",")[2]) / 1e6
        if at < since:
            reaches_back = True
            continue
        found = _KILLED.search(text)
        if found is not None and int(found.group(1)) == pid:
            return True


def _groups(path: str) -> Dict[str, str]:
    """Control groups of this process by controller; "" is version 2's."""
    found = {}
    try:
        with open(path) as lines:
            for line in lines:
                _, controllers, group = line.rstrip("\n").split(":", 2)
                for controller in controllers.split(","):
                    found[controller] = group
    except (OSError, ValueError):
        return {}
    return found


def _oom_kills(path: str) -> Optional[int]:
    """The counter ``oom_kill`` in a file of the kernel's; None where there is none."""
    try:
        with open(path) as counters:
            for line in counters:
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    except (OSError, ValueError):
        return None
    return None


def _grew(before: Optional[int], now: Optional[int]) -> bool:
    return before is not None and now is not None and now > before
