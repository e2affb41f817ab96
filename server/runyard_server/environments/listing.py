"""What a built environment consists of, written down when it was built and looked at before each use."""

import base64
import csv
import hashlib
import json
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

# Written by the interpreter while scripts run; no part of what was installed.
_IGNORED_DIRECTORIES = frozenset({"__pycache__"})


# First line of a listing. One without it was written by 0.1.0 and has no times.
_HEADER = "# size mtime_s path\n"


def walk(root: str) -> Iterator[tuple[str, os.stat_result]]:
    """(relative path, what lstat says) of each file below ``root``; links are not followed."""
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
                    yield path, entry.stat(follow_symlinks=False)


def write(root: Path, target: Path) -> tuple[int, int]:
    """Writes the listing of ``root`` to ``target``; gives the number of files and the bytes that they take."""
    count = total = 0
    temporary = target.with_suffix(".new")
    with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as out:
        out.write(_HEADER)
        for path, found in sorted(walk(str(root))):
            out.write(f"{found.st_size} {int(found.st_mtime)} {path}\n")
            count += 1
            total += found.st_size
        out.flush()
        os.fsync(out.fileno())
    os.replace(temporary, target)
    return count, total


def problem(root: Path, listing: Path) -> str | None:
    """What is wrong with ``root`` against its listing: a file that is gone or was written to, or a
    package that was installed into it afterwards. None when nothing is.

    Files are hard links into the package cache: what a script writes into one changes every environment that has it.
    """
    try:
        expected = _read(listing)
        for path, found in walk(str(root)):
            size, modified = expected.pop(path, ("", ""))
            if not size:
                if path.endswith(".dist-info/METADATA"):
                    return f"{os.path.basename(os.path.dirname(path))} was installed into it afterwards"
                if path.startswith("conda-meta/") and path.endswith(".json"):
                    return f"{os.path.basename(path).removesuffix('.json')} was installed into it afterwards"
            elif size != str(found.st_size):
                return f"{path} has {found.st_size:,} bytes instead of {int(size):,}"
            elif modified and modified != str(int(found.st_mtime)):
                return f"{path} was written to"
    except (OSError, ValueError) as error:
        return f"it cannot be read: {error}"
    gone = next(iter(expected), None)
    return f"{gone} is gone" if gone is not None else None


def _read(listing: Path) -> dict[str, tuple[str, str]]:
    """Path -> (size, modification time or "") of a listing."""
    with open(listing, encoding="utf-8", errors="surrogateescape") as lines:
        first = lines.readline()
        if first == _HEADER:
            split = (line.rstrip("\n").split(" ", 2) for line in lines)
            return {path: (size, modified) for size, modified, path in split}
        pairs = (line.rstrip("\n").partition(" ") for line in [first, *lines] if line)
        return {path: (size, "") for size, _, path in pairs}


@dataclass(frozen=True)
class Damage:
    """A package whose files are not those of its own RECORD. ``is_certain`` where even a size differs."""

    package: str
    is_certain: bool


def of_conda(prefix: Path) -> frozenset[Path]:
    """The RECORD files that conda's packages brought along. They are of the time before those were packed."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in prefix.glob("conda-meta/*.json")]
    return frozenset(prefix / path for record in records for path in record["files"] if path.endswith("/RECORD"))


def records(site_packages: Path, but: Collection[Path] = ()) -> Iterator[tuple[Path, list[list[str]]]]:
    """The RECORD of each package, ``but`` these, and its rows: a file's path below ``site_packages``, digest and size."""
    for record in sorted(set(site_packages.glob("*.dist-info/RECORD")) - set(but)):
        with open(record, encoding="utf-8", newline="") as lines:
            yield record, [row for row in csv.reader(lines) if len(row) == 3]


def damaged_packages(site_packages: Path, but: Collection[Path] = ()) -> list[Damage]:
    """Packages with a file whose size or digest is not what the package's own RECORD says, ``but`` these."""
    damaged: list[Damage] = []
    for record, rows in records(site_packages, but):
        name = record.parent.name.removesuffix(".dist-info").rpartition("-")[0]
        if any(row[2] and _size(site_packages / row[0]) != int(row[2]) for row in rows):
            damaged.append(Damage(name, is_certain=True))
        elif any(row[1].startswith("sha256=") and _digest(site_packages / row[0]) != row[1] for row in rows):
            damaged.append(Damage(name, is_certain=False))
    return damaged


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _digest(path: Path) -> str:
    try:
        with open(path, "rb") as source:
            digest = hashlib.file_digest(source, "sha256").digest()
    except OSError:
        return ""
    return "sha256=" + base64.urlsafe_b64encode(digest).decode().rstrip("=")
