"""What the built environments on this host take, and which of them may go."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Collection
from pathlib import Path

from runyard.protocol.environments import CachedEnvironment, PrunedEnvironments
from runyard_server.environments import bytecode, conda_cache
from runyard_server.environments.build import Builds
from runyard_server.environments.conda_command import Conda
from runyard_server.environments.disk import JUST_USED_S, last_used_at
from runyard_server.environments.programs import Log, masked
from runyard_server.environments.wheels import Wheels

_COMPILED = re.compile(r"^([\w.]+) @ file://\S*/[0-9a-f]{40}/\1-([^-\s]+)-\S+\.whl", re.MULTILINE)


class EnvironmentCache:
    """Lists and prunes the environments of ``builds``, and the wheels that were compiled for them."""

    def __init__(self, builds: Builds, wheels: Wheels, conda: Conda) -> None:
        self._builds = builds
        self._wheels = wheels
        self._conda = conda

    def entries(self) -> list[CachedEnvironment]:
        """All environments here, the last used first."""
        running = running_commands()
        found = [self._entry(key, running) for key in self._builds.all_keys()]
        return sorted(found, key=lambda entry: -entry.last_used_at)

    def show(self, key: str) -> CachedEnvironment | None:
        """One environment by its key or the beginning of it; None where that is no one or several."""
        matching = [found for found in self._builds.all_keys() if key and found.startswith(key)]
        return self._entry(matching[0], running_commands()) if len(matching) == 1 else None

    def prune(self, unused_for_s: float, keep: Collection[str], dry_run: bool, log: Log) -> PrunedEnvironments:
        """Removes the environments that no one used for ``unused_for_s`` seconds, and what builds left behind.

        Never those in ``keep``, those that a process runs in, and those used within ten minutes.
        """
        now = time.time()
        removed: list[CachedEnvironment] = []
        kept: dict[str, str] = {}
        for entry in self.entries():
            reason = _reason_to_keep(entry, keep, now, unused_for_s)
            if reason is None and not dry_run:
                reason = self._removed(entry, log)
            if reason is None:
                removed.append(entry)
            else:
                kept[entry.key] = reason
        locks = "\n".join(_lock(self._builds.root / key) for key in kept)
        of_wheels = self._wheels.prune(locks, unused_for_s, now, dry_run, log)
        in_use = set[str]().union(*(conda_cache.digests(self._builds.root / key) for key in kept))
        of_conda = self._conda.prune(in_use, max(unused_for_s, JUST_USED_S), dry_run)
        of_modules = bytecode.prune(self._builds.bytecode, dry_run)
        freed = sum(entry.size_bytes for entry in removed) + of_wheels + of_conda + of_modules
        return PrunedEnvironments(removed, kept, freed, dry_run)

    def _removed(self, entry: CachedEnvironment, log: Log) -> str | None:
        """Removes one under its lock; the reason where it turns out to be wanted."""
        home = self._builds.root / entry.key
        with self._builds.locked(entry.key, log, None):
            if last_used_at(home, "ready.json") > entry.last_used_at:
                return "it was used just now"
            (home / "ready.json").unlink(missing_ok=True)  # first: what is half removed must not look ready
            shutil.rmtree(home, ignore_errors=True)
        if home.exists():
            return "some of its files could not be removed"
        log(f"Removed environment {entry.key[:12]}")
        return None

    def _entry(self, key: str, running: str) -> CachedEnvironment:
        home = self._builds.root / key
        marker = self._builds.marker(key)
        return CachedEnvironment(
            key=key,
            ready=marker is not None,
            python_version=marker.python_version if marker else "",
            size_bytes=marker.size_bytes if marker else 0,
            file_count=marker.file_count if marker else 0,
            built_at=marker.built_at if marker else None,
            last_used_at=last_used_at(home, "ready.json"),
            in_use=f"{home}{os.sep}" in running,
            directory=str(home),
            requirements=[*conda_cache.pins(home), *_pins(home)],
        )


def _reason_to_keep(entry: CachedEnvironment, keep: Collection[str], now: float, unused_for_s: float) -> str | None:
    if entry.in_use:
        return "a process runs in it"
    if entry.key in keep:
        return "a run that has not ended needs it"
    unused_s = now - entry.last_used_at
    if entry.ready and unused_s < max(unused_for_s, JUST_USED_S):
        return f"it was used {unused_s / 86400:.1f} days ago" if unused_s > JUST_USED_S else "it was used just now"
    if not entry.ready and unused_s < JUST_USED_S:
        return "it may be under construction"
    return None


def _lock(home: Path) -> str:
    try:
        return (home / "requirements.txt").read_text(encoding="utf-8")
    except OSError:
        return ""


def _pins(home: Path) -> list[str]:
    # a wheel that was compiled here lies under its own name: horovod-0.28.1-cp311-cp311-linux_x86_64.whl
    lines = _COMPILED.sub(r"\1==\2", _lock(home)).splitlines()
    return [masked(line.rstrip(" \\")) for line in lines if line and not line.startswith((" ", "#", "-"))]


def running_commands() -> str:
    """The command lines of all processes that can be seen, one per line."""
    processes = Path("/proc")
    if not (processes / "self" / "cmdline").exists():
        answer = subprocess.run(["ps", "-axww", "-o", "command="], capture_output=True, text=True, check=False)
        return answer.stdout
    lines = []
    for entry in os.scandir(processes):
        if entry.name.isdigit():
            try:
                lines.append(Path(entry.path, "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
            except OSError:
                continue  # it ended while we looked
    return "\n".join(lines)
