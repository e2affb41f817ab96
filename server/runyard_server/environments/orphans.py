"""The processes of a build outlive a server that is killed: they are known by a variable, and ended by the next build.

A build that goes on for nobody would write into a folder that the next one has removed, and fetch what that fetches.
What such a server had in the system's folder for temporary files goes, too.
"""

import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path

from runyard.job import processes

_BUILDER = "builder:"
_FOLDERS = "runyard-resolve-"
_OWNER = re.compile(r"([0-9]{1,10})-([0-9]{1,18})-")


def mark() -> dict[str, str]:
    """The variable that says for which server a process builds; whatever it starts inherits it."""
    pid = os.getpid()
    return {processes.MARKER: f"{_BUILDER}{pid}/{processes.start_ticks(pid) or 0}/{processes.machine_name()}"}


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for a while, by whose name is known which server it is of."""
    pid = os.getpid()
    return tempfile.TemporaryDirectory(prefix=f"{_folders()}{pid}-{processes.start_ticks(pid) or 0}-")


def end() -> list[int]:
    """Ends (SIGKILL) every process that builds for a server which is gone; pids that live on nevertheless.

    Folders of such servers are removed.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{_folders()}*"):
        of = _OWNER.match(folder.name, len(_folders()))  # others may put there what they like
        if of is not None and _is_gone(int(of[1]), int(of[2])):
            shutil.rmtree(folder, ignore_errors=True)
    carried = {processes.marker_in(pid) for pid in processes.all_processes()}
    return [pid for marker in carried if marker and _is_orphans(marker) for pid in processes.kill_group(marker)]


def _is_orphans(marker: str) -> bool:
    if not marker.startswith(_BUILDER):
        return False
    pid, ticks, machine = marker[len(_BUILDER) :].split("/")
    if machine != processes.machine_name():
        return False  # of another process namespace: its server may well live there
    return _is_gone(int(pid), int(ticks))


def _folders() -> str:
    """What the names of this machine's folders begin with: pids of another process namespace say nothing here."""
    return f"{_FOLDERS}{hashlib.sha256(processes.machine_name().encode()).hexdigest()[:12]}-"


def _is_gone(pid: int, ticks: int) -> bool:
    return processes.start_ticks(pid) != ticks or not processes.is_alive(pid)
