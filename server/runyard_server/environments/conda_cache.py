"""Conda packages as they were fetched, by their digest, and unpacked; what no environment has any more is removed.

::

    <folder>/packages/<digest>/tool-1.0-0.conda    as the channel has it
    <folder>/unpacked/tool-1.0-0/...               what files of environments are hard links to
    <folder>/channels/...                          what the channels say that they have
"""

import json
import os
import shutil
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path

from runyard.protocol.environments import CondaPackage

LIST = "conda.json"  # in an environment's home: the packages of its lock


def digest(package: CondaPackage) -> str:
    """What names the package's bytes."""
    return package.sha256 or f"md5-{package.md5}"


def archive(folder: Path, package: CondaPackage) -> Path:
    """Where the package's file lies, or will."""
    return folder / "packages" / digest(package) / os.path.basename(package.file_name)


def part(archive: Path) -> Path:
    """Where an archive lies while it is fetched and looked through; with its own ending, which says how to read it."""
    return archive.with_name(f".{os.getpid()}.{archive.name}")


def unpacked(folder: Path) -> Path:
    return folder / "unpacked"


def channels(folder: Path) -> Path:
    return folder / "channels"


def write_list(home: Path, packages: Sequence[CondaPackage]) -> None:
    """Notes in an environment's home what it has, for ``pins`` and ``digests``."""
    if packages:
        listed = [{**asdict(package), "channel": None} for package in packages]  # its address may hold a secret
        (home / LIST).write_text(json.dumps(listed), encoding="utf-8")


def pins(home: Path) -> list[str]:
    """The conda packages of an environment as "name=version=build"."""
    return [f"{each['name']}={each['version']}={each['build']}" for each in _read(home)]


def digests(home: Path) -> set[str]:
    """Digests of the conda packages of an environment, finished or not."""
    return {each["sha256"] or f"md5-{each['md5']}" for each in _read(home)}


def prune(folder: Path, in_use: Collection[str], unused_for_s: float, dry_run: bool) -> int:
    """Removes packages that are in no environment (``in_use``: digests) and were not asked for lately.

    Gives the bytes that are freed, or would be.
    """
    freed = 0
    before = time.time() - unused_for_s
    for home in sorted((folder / "packages").glob("*")):
        files = list(home.iterdir())
        for left in [file for file in files if file.name.startswith(".") and file.stat().st_mtime <= before]:
            freed += left.stat().st_size  # of a fetch that was killed
            files.remove(left)
            if not dry_run:
                left.unlink(missing_ok=True)
        if home.name in in_use or any(file.stat().st_mtime > before for file in files):
            continue
        for file in files:
            stem = file.name.removesuffix(".conda").removesuffix(".tar.bz2")
            copy = unpacked(folder) / stem
            freed += file.stat().st_size + sum(each.lstat().st_size for each in copy.rglob("*") if not each.is_dir())
            if not dry_run:
                shutil.rmtree(copy, ignore_errors=True)
                (unpacked(folder) / f"{stem}.lock").unlink(missing_ok=True)
        if not dry_run:
            shutil.rmtree(home, ignore_errors=True)
    return freed


def _read(home: Path) -> list[dict[str, str]]:
    try:
        listed: list[dict[str, str]] = json.loads((home / LIST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return listed
