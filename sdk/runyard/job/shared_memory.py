"""MPICH's shared memory: files that its ranks remove at their MPI_Finalize, and leave behind where they do not come to it.

They are no file of a disk's: each takes a megabyte or two of the node's memory until somebody removes it.
"""

import os
from typing import Iterator, Set

FOLDER = "/dev/shm"
_NAMES = "mpich_shm_"  # as seen of MPICH 5.0


def remove_left(since: float, folder: str = FOLDER) -> None:
    """Removes those of this user's that no process has any more.

    Args:
        since: when the first that may be meant was made, in seconds since the epoch.
    """
    left = set(_made_since(since, folder))
    if not left:
        return
    # Looked for after the files were seen: who has made one has it open, or mapped, by then.
    for path in left - _in_use(os.path.join(folder, _NAMES)):
        try:
            os.unlink(path)
        except OSError:
            continue  # somebody else has


def _made_since(since: float, folder: str) -> Iterator[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return  # this system has no such folder
    for path in [os.path.join(folder, name) for name in names if name.startswith(_NAMES)]:
        try:
            found = os.lstat(path)
        except OSError:
            continue  # removed meanwhile
        if found.st_uid == os.geteuid() and found.st_mtime >= since:
            yield path


def _in_use(beginning: str) -> Set[str]:
    found: Set[str] = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            found.update(_of_process(os.path.join("/proc", name), beginning))
    return found


def _of_process(process: str, beginning: str) -> Iterator[str]:
    """What a process has open, then what it has mapped: one that turns the first into the second is not missed."""
    try:
        opened = os.path.join(process, "fd")
        for number in os.listdir(opened):
            try:
                path = os.readlink(os.path.join(opened, number))
            except FileNotFoundError:
                continue  # closed meanwhile
            if path.startswith(beginning):
                yield path
        with open(os.path.join(process, "maps"), "rb") as maps:
            for line in maps:
                if os.fsencode(beginning) in line:
                    yield os.fsdecode(line.split(None, 5)[-1].rstrip(b"\n"))
    except OSError:
        return  # it has ended, or is another user's, who has none of this user's
