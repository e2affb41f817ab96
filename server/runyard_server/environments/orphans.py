"""The processes of a build outlive a server that is killed: they are known by a variable, and ended by the next build.

A build that goes on for nobody would write into a folder that the next one has removed, and fetch what that fetches.
"""

import os

from runyard.job import processes

_BUILDER = "builder:"


def mark() -> dict[str, str]:
    """The variable that says for which server a process builds; whatever it starts inherits it."""
    pid = os.getpid()
    return {processes.MARKER: f"{_BUILDER}{pid}/{processes.start_ticks(pid) or 0}/{processes.machine_name()}"}


def end() -> list[int]:
    """Ends (SIGKILL) every process that builds for a server which is gone; pids that live on nevertheless."""
    carried = {processes.marker_in(pid) for pid in processes.all_processes()}
    return [pid for marker in carried if marker and _is_orphans(marker) for pid in processes.kill_group(marker)]


def _is_orphans(marker: str) -> bool:
    if not marker.startswith(_BUILDER):
        return False
    pid, ticks, machine = marker[len(_BUILDER) :].split("/")
    if machine != processes.machine_name():
        return False  # of another process namespace: its server may well live there
    return processes.start_ticks(int(pid)) != int(ticks) or not processes.is_alive(int(pid))
