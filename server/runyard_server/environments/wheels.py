"""Wheels that were compiled on this host: compiled once, kept, and looked at before each use.

One lies in ``<root>/<key>/``::

    horovod-0.28.1-cp311-cp311-linux_x86_64.whl
    wheel.json   its name, digest and size; written last
    used         its modification time is the last use

A folder of ``compiling`` is where it is compiled. The root may lie in a folder that outlives homes (``RUNYARD_WHEELS``).
"""

import hashlib
import json
import os
import shutil
import sysconfig
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from runyard.protocol.codec import to_json
from runyard.protocol.environments import CompiledPackage
from runyard_server.environments import orphans
from runyard_server.environments.disk import JUST_USED_S, full_disk_named, held, last_used_at
from runyard_server.environments.programs import Log

Compile = Callable[[Path], Path]


@dataclass(frozen=True)
class CompiledWheel:
    """A whole wheel on this host.

    Attributes:
        path: under its own name, which says what it fits.
    """

    path: Path
    sha256: str

    @property
    def requirement(self) -> str:
        """The line for ``uv pip install -r``: this file, with this digest."""
        return f"{self.path.name.partition('-')[0]} @ {self.path.as_uri()} \\\n    --hash=sha256:{self.sha256}\n"


@dataclass(frozen=True)
class _Marker:
    """What ``wheel.json`` holds."""

    name: str
    sha256: str
    size_bytes: int
    built_at: float
    build_s: float


def key_of(package: CompiledPackage) -> str:
    """Digest of everything that decides what the wheel is."""
    content = json.dumps([sysconfig.get_platform(), to_json(package)], sort_keys=True)
    return hashlib.sha256(content.encode("utf-8")).hexdigest()[:40]


class Wheels:
    """The compiled wheels below ``root``. Safe to use from several threads and processes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def ensure(
        self, package: CompiledPackage, compile_in: Compile, log: Log, cancel: threading.Event | None
    ) -> CompiledWheel:
        """The wheel of ``package``, compiled now where it is not here. Whoever comes meanwhile waits for it.

        Args:
            compile_in: compiles it in the empty folder that it is given, and gives the wheel's path there.
        Raises:
            EnvironmentException: it cannot be compiled, or ``cancel`` was set.
            StorageFullError: the disk has no room.
        """
        key = key_of(package)
        found = self._whole(key, lambda _: None)
        if found is None:
            with held(
                self._root / "locks" / f"{key}.lock",
                f"{package.name} {package.version} is being compiled",
                log,
                cancel,
            ):
                found = self._whole(key, log) or self._compiled(key, package, compile_in, log)
        (found.path.parent / "used").touch()
        return found

    def kept(self, package: CompiledPackage) -> CompiledWheel | None:
        """The wheel of ``package`` if it was compiled here and is whole; marks its use."""
        found = self._whole(key_of(package), lambda _: None)
        if found is not None:
            (found.path.parent / "used").touch()
        return found

    def find(self, sha256: str) -> Path | None:
        """The file of the wheel with that digest; None where there is none."""
        for key in _folders(self._root):
            marker = self._marker(key)
            if marker is not None and marker.sha256 == sha256:
                return self._root / key / marker.name
        return None

    def _whole(self, key: str, log: Log) -> CompiledWheel | None:
        marker = self._marker(key)
        if marker is None:
            return None
        path = self._root / key / marker.name
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            log(f"The compiled wheel {marker.name} cannot be read: {error.strerror}")
            return None
        if digest != marker.sha256:
            log(f"The compiled wheel {marker.name} is damaged: it has other bytes than when it was compiled")
            return None
        return CompiledWheel(path, digest)

    def _compiled(self, key: str, package: CompiledPackage, compile_in: Compile, log: Log) -> CompiledWheel:
        started = time.monotonic()
        orphans.end()  # before their folder is removed: they would write it anew
        work = self._root / "compiling" / key
        with full_disk_named():
            shutil.rmtree(work, ignore_errors=True)  # of a compilation that was killed
            work.mkdir(parents=True, mode=0o700)
        try:
            made = compile_in(work)
            with full_disk_named():
                return self._kept(key, made, started, log)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _kept(self, key: str, made: Path, started: float, log: Log) -> CompiledWheel:
        home = self._root / key
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        digest = hashlib.sha256(made.read_bytes()).hexdigest()
        build_s = round(time.monotonic() - started, 1)
        marker = _Marker(made.name, digest, made.stat().st_size, time.time(), build_s)
        (home / "wheel.json").unlink(missing_ok=True)
        _on_disk(made)
        os.replace(made, home / made.name)
        temporary = home / "wheel.json.new"
        temporary.write_text(json.dumps(asdict(marker)), encoding="utf-8")
        _on_disk(temporary)
        os.replace(temporary, home / "wheel.json")
        log(f"Compiled {made.name} after {build_s:.1f} s ({marker.size_bytes / 1e6:,.1f} MB); it is kept for others")
        return CompiledWheel(home / made.name, digest)

    def prune(self, needed: str, unused_for_s: float, now: float, dry_run: bool, log: Log) -> int:
        """Removes the wheels that nothing used for ``unused_for_s`` seconds; the bytes that they took.

        Never one that an environment which stays was made with: it could be made anew only in minutes.

        Args:
            needed: the locks of these environments, as they name their wheels.
        """
        if not dry_run:
            for key in _folders(self._root / "compiling"):
                self._cleared(key)
        freed = 0
        for key in _folders(self._root):
            home = self._root / key
            if key in needed or now - last_used_at(home, "wheel.json") < max(unused_for_s, JUST_USED_S):
                continue
            marker = self._marker(key)
            freed += marker.size_bytes if marker else 0
            if not dry_run and self._removed(key, now):
                log(f"Removed the compiled wheel {marker.name if marker else key[:12]}")
        return freed

    def _cleared(self, key: str) -> None:
        """What a compilation left that was killed; not what one works on now."""
        try:
            with FileLock(self._root / "locks" / f"{key}.lock").acquire(timeout=0):
                shutil.rmtree(self._root / "compiling" / key, ignore_errors=True)
        except Timeout:
            pass  # it is being compiled

    def _removed(self, key: str, now: float) -> bool:
        home = self._root / key
        lock = FileLock(self._root / "locks" / f"{key}.lock")
        try:
            with lock.acquire(timeout=0):
                if now - last_used_at(home, "wheel.json") < JUST_USED_S:
                    return False
                (home / "wheel.json").unlink(missing_ok=True)  # first: what is half removed must not look whole
                shutil.rmtree(home, ignore_errors=True)
                return True
        except Timeout:
            return False  # it is being compiled

    def _marker(self, key: str) -> _Marker | None:
        try:
            return _Marker(**json.loads((self._root / key / "wheel.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None


def _folders(root: Path) -> list[str]:
    """Names of the folders in ``root`` that are keys."""
    if not root.is_dir():
        return []
    return sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and len(entry.name) == 40)


def _on_disk(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
