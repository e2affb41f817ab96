"""MPICH's shared memory: files that its ranks remove at their MPI_Finalize, and leave behind where they do not come to it.

They are no file of a disk's: each takes a megabyte or two of the node's memory until somebody removes it.
"""

import os
from typing import Iterator, Set

FOLDER = "/dev/shm"
_NAMES = ("mpich_shm_", "mpich_vci_", "mpich_shar_tmp")  # those that the libraries of MPICH 5.0 have in them


def remove_left(since: float, folder: str = FOLDER) -> None:
    """Removes those of this user's that no process has any more, as far as this one sees.

    A process of another namespace may have one still: what it has mapped it keeps.

    Args:
        since: what was made before is left alone; in seconds since the epoch.

    Raises:
        OSError: the folder or the processes cannot be looked at, or what is left cannot be removed.
    """
    folder = os.path.realpath(folder)  # as the kernel names it
    left = set(_made_since(since, folder))
    if not left:
        return
    # Looked for after the files were seen: who has made one has it open, or mapped, by then.
    for path in left - _in_use(folder):
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue  # somebody else has removed it


def _made_since(since: float, folder: str) -> Iterator[str]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return  # this system has no such folder
    for path in [os.path.join(folder, name) for name in names if name.startswith(_NAMES)]:
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            continue  # removed meanwhile
        if found.st_uid == os.geteuid() and found.st_mtime >= since:
            yield path


def _in_use(folder: str) -> Set[str]:
    found: Set[str] = set()
    for process in [os.path.join("/proc", name) for name in os.listdir("/proc") if name.isdigit()]:
        try:
            found.update(_of_process(process, folder))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        except PermissionError:
            continue  # another user's, who has none of this user's; or it hides from its own user, as no rank does
    return found


def _of_process(process: str, folder: str) -> Iterator[str]:
    """What a process has open, then what it has mapped: one that turns the first into the second is not missed."""
    opened = os.path.join(process, "fd")
    for number in os.listdir(opened):
        try:
            path = os.readlink(os.path.join(opened, number))
        except FileNotFoundError:
            continue  # closed meanwhile
        if os.path.dirname(path) == folder:
            yield path
    beginning = os.fsencode(os.path.join(folder, ""))
    with open(os.path.join(process, "maps"), "rb") as maps:
        for line in maps:
            if beginning in line:
                yield os.fsdecode(line.split(None, 5)[-1].rstrip(b"\n"))
