"""MPICH's shared memory: files that its ranks remove at their MPI_Finalize, and leave behind where they do not come to it.

They are no file of a disk's: each takes a megabyte or two of the node's memory until somebody removes it.
"""

import os
from typing import Iterator

from runyard.job import processes

FOLDER = "/dev/shm"
_NAMES = ("mpich_shm_", "mpich_vci_", "mpich_shar_tmp")  # those that the libraries of MPICH 5.0 have in them


def remove_left(since: float, folder: str = FOLDER) -> None:
    """Removes those of this user's that no process has any more, as far as this one sees.

    A process of another namespace may have one still: what it has mapped it keeps.

    Args:
        since: what was made before is left alone; in seconds since the epoch.

    Raises:
        OSError: the folder cannot be looked at, or what is left cannot be removed.
    """
    folder = os.path.realpath(folder)  # as the kernel names it
    left = set(_made_since(since, folder))
    if not left or not processes.has_process_table():
        return
    # Looked for after the files were seen: who has made one has it open, or mapped, by then. A process that hides from
    # its own user is no rank.
    in_use = {path for pid in processes.pids() for path in processes.files_in(folder, pid)}
    for path in left - in_use:
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
