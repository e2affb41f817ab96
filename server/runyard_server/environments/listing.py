"""What a built environment consists of, written down when it was built and looked at before each use."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

# Written by the interpreter while scripts run; no part of what was installed.
_IGNORED_DIRECTORIES = frozenset({"__pycache__"})


def walk(root: str) -> Iterator[tuple[str, int]]:
    """(relative path, size in bytes) of each file below ``root``; links are not followed."""
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        with os.scandir(os.path.join(root, prefix)) as entries:
            for entry in entries:
                path = prefix + entry.name
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in _IGNORED_DIRECTORIES:
                        waiting.append(path + "/")
                else:
                    yield path, entry.stat(follow_symlinks=False).st_size


def write(root: Path, target: Path) -> tuple[int, int]:
    """Writes the listing of ``root`` to ``target``; gives the number of files and the bytes that they take."""
    count = total = 0
    temporary = target.with_suffix(".new")
    with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as out:
        for path, size in sorted(walk(str(root))):
            out.write(f"{size} {path}\n")
            count += 1
            total += size
        out.flush()
        os.fsync(out.fileno())
    os.replace(temporary, target)
    return count, total


def problem(root: Path, listing: Path) -> str | None:
    """What is wrong with ``root`` against its listing: a file that is gone, has another size, or a
    package that was installed into it afterwards. None when nothing is."""
    expected: dict[str, str] = {}
    try:
        with open(listing, encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                size, _, path = line.rstrip("\n").partition(" ")
                expected[path] = size
        for path, size_bytes in walk(str(root)):
            size = expected.pop(path, "")
            if not size:
                if path.endswith(".dist-info/METADATA"):
                    return f"{os.path.basename(os.path.dirname(path))} was installed into it afterwards"
            elif size != str(size_bytes):
                return f"{path} has {size_bytes:,} bytes instead of {int(size):,}"
    except (OSError, ValueError) as error:
        return f"it cannot be read: {error}"
    gone = next(iter(expected), None)
    return f"{gone} is gone" if gone is not None else None


def damaged_packages(site_packages: Path) -> list[str]:
    """Packages with a file whose size is not what the package's own RECORD says."""
    damaged: list[str] = []
    for record in sorted(site_packages.glob("*.dist-info/RECORD")):
        with open(record, encoding="utf-8", newline="") as lines:
            for row in csv.reader(lines):
                if len(row) == 3 and row[2] and _size(site_packages / row[0]) != int(row[2]):
                    damaged.append(record.parent.name.removesuffix(".dist-info").rpartition("-")[0])
                    break
    return damaged


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
