"""Less memory and less disk than a machine has: a control group of the kernel's, and a disk of a few megabytes."""

import os
import subprocess
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos.holds import eventually

_GROUPS = Path("/sys/fs/cgroup")


@contextmanager
def memory_group(limit_bytes: int) -> Iterator[Path]:
    """A control group whose processes get no more memory than that; skips where this user may not make one."""
    first = _GROUPS / "memory" if (_GROUPS / "memory").is_dir() else _GROUPS  # version 1, or 2
    folder = first / f"runyard-test-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir()
        limit = folder / ("memory.limit_in_bytes" if first != _GROUPS else "memory.max")
        limit.write_text(str(limit_bytes))
    except OSError as refused:
        if folder.is_dir():
            folder.rmdir()
        pytest.skip(f"needs a control group for memory that may be written: {refused}")

    def empty() -> bool:
        try:
            move_to(first, [int(pid) for pid in (folder / "cgroup.procs").read_text().split()])
            folder.rmdir()
        except OSError:  # somebody has just started another process in it, or is being buried
            return False
        return True

    try:
        yield folder
    finally:
        eventually(empty, "an empty control group")


def move_to(group: Path, pids: Iterable[int]) -> None:
    """Makes the processes members of the group, if they live; what they start later is, too."""
    for pid in pids:
        try:
            (group / "cgroup.procs").write_text(str(pid))
        except ProcessLookupError:
            continue


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of that size ("8m") in memory, at ``folder``; skips where this user may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "runyard-test", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"needs the right to mount a small disk: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Ballast:
    """A file that takes all the room that a disk has left, until it is thrown off."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ballast"

    def fill(self, leave_bytes: int = 0) -> None:
        """Leaves no block free, or so many bytes."""
        with open(self.path, "ab", buffering=0) as target:
            for block in (1 << 20, 1 << 16, 4096, 1):
                try:
                    while target.write(bytes(block)):
                        pass
                except OSError:
                    continue
        os.truncate(self.path, self.path.stat().st_size - leave_bytes)

    def throw_off(self) -> None:
        self.path.unlink(missing_ok=True)
