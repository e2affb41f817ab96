"""Finds the Python interpreter of an environment: in named directories, by ``uv``, or fetched by it."""

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runyard.errors import EnvironmentException
from runyard_server.environments.programs import Log
from runyard_server.environments.uv_command import Uv, UvFailed

_PROBE = "import sys, platform; print(platform.python_implementation(), *sys.version_info[:3])"
_NAME = re.compile(r"^python3(\.\d+)?$")


@dataclass(frozen=True)
class Interpreter:
    """A Python executable and its full version, "3.11.7".

    ``is_elsewhere``: only the version is that of the one that is meant; ``path`` is another's.
    """

    path: Path
    version: str
    is_elsewhere: bool = False


class Interpreters:
    """The interpreters that this host has. Safe to use from several threads.

    Args:
        directories: directories that hold executables, searched first.
    """

    def __init__(self, uv: Uv, directories: Sequence[Path]) -> None:
        self._uv = uv
        self._directories = [*directories, *_of_pyenv()]
        self._known: dict[str, Interpreter] = {}
        self._lock = threading.Lock()

    def find(self, versions: Sequence[str], log: Log) -> Interpreter:
        """The first of ``versions`` that is here, else the first that uv can fetch.

        Args:
            versions: acceptable versions, the best first ("3.11", "3.11.7"); empty takes the server's own.
        Raises:
            EnvironmentException: none is here and none can be fetched; says which are here.
        """
        own = f"{sys.version_info.major}.{sys.version_info.minor}"
        wanted = list(versions) or [own]
        if any(matches(own_version(), version) for version in wanted):
            wanted = [version for version in wanted if matches(own_version(), version)]
        with self._lock:
            for version in wanted:
                found = self._known.get(version) or self._here(version)
                if found is not None and found.path.exists():
                    self._known[version] = found
                    return found
            return self._fetched(wanted, log)

    def _here(self, version: str) -> Interpreter | None:
        if matches(own_version(), version):
            return Interpreter(Path(sys.executable), own_version())
        best: Interpreter | None = None
        for path in self._candidates(version):
            found = probe(path)
            if found and matches(found.version, version) and (best is None or _key(found) > _key(best)):
                best = found
        return best or self._of_uv(version)

    def _candidates(self, version: str) -> Iterator[Path]:
        minor = ".".join(version.split(".")[:2])
        names = [f"python{minor}"] if "." in minor else ["python3"]
        for directory in self._directories:
            for name in names:
                path = directory / name
                if os.access(path, os.X_OK):
                    yield path

    def _of_uv(self, version: str) -> Interpreter | None:
        try:
            answer = self._uv.run(["python", "find", "--no-project", "--no-python-downloads", version], _silent)
        except UvFailed:  # it says so by failing; a broken shim on PATH looks the same
            return None
        found = probe(Path(answer.strip()))
        return found if found and matches(found.version, version) else None

    def _fetched(self, versions: list[str], log: Log) -> Interpreter:
        version = versions[0]
        log(f"Python {version} is not here; fetching it with uv")
        try:
            self._uv.run(["python", "install", version], log)
            answer = self._uv.run(["python", "find", "--no-project", "--managed-python", version], _silent)
            found = probe(Path(answer.strip()))
            if found is not None:
                self._known[version] = found
                return found
            reason = "what was fetched does not run"
        except UvFailed as error:
            reason = error.output.splitlines()[-1] if error.output else "uv failed"
        near = self._near(version, log)
        if near is not None:
            return near
        here = ", ".join(self._all_here()) or "none"
        raise EnvironmentException(
            f"Python {' or '.join(versions)} is not on this machine and could not be fetched ({reason}). "
            f"Here are: {here}. Install it ('uv python install {version}' where there is a network), name the "
            "directory that holds it in RUNYARD_PYTHONS, or ask for a version that is here."
        )

    def _near(self, version: str, log: Log) -> Interpreter | None:
        """Another patch of the version that was asked for to the patch."""
        minor, _, patch = version.rpartition(".")
        if minor.count(".") != 1 or not patch:
            return None
        found = self._here(minor)
        if found is not None:
            log(f"Python {version} cannot be had; {found.version} is used")
        return found

    def _all_here(self) -> list[str]:
        versions = {own_version()}
        for directory in self._directories:
            for path in directory.glob("python3*"):
                if _NAME.match(path.name) and (found := probe(path)):
                    versions.add(found.version)
        try:
            listed = self._uv.run(["python", "list", "--only-installed"], _silent)
        except UvFailed:
            listed = ""
        versions.update(re.findall(r"^cpython-(\d+\.\d+\.\d+)-", listed, re.MULTILINE))
        return sorted(versions, key=lambda item: [int(part) for part in item.split(".")])


def own_version() -> str:
    """The server's own Python version, to the patch."""
    return ".".join(str(part) for part in sys.version_info[:3])


def matches(version: str, asked: str) -> bool:
    """Whether "3.11.7" is what "3.11", "3" or "3.11.7" asks for."""
    return version == asked or version.startswith(asked + ".")


def probe(path: Path) -> Interpreter | None:
    """What ``path`` is when run: a CPython and its version; None where it does not run as one.

    The answer is remembered as long as the executable stays the same file: each submission asks.
    """
    try:
        found = path.stat()
        with path.open("rb") as executable:
            is_script = executable.read(2) == b"#!"
    except OSError:
        return None
    identity = (path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    known = _PROBED.get(identity)
    if known is None:
        known = _run_probe(path)
        if known is not None and not is_script:  # a script, such as a pyenv shim, may lead elsewhere tomorrow
            _PROBED[identity] = known
    return known


_PROBED: dict[tuple[Path, int, int, int, int], Interpreter] = {}


def _run_probe(path: Path) -> Interpreter | None:
    try:
        answer = subprocess.run(
            [str(path), "-I", "-c", _PROBE], capture_output=True, text=True, timeout=60, check=False, cwd="/"
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = answer.stdout.split()
    if answer.returncode != 0 or len(words) != 4 or words[0] != "CPython":
        return None
    return Interpreter(path, ".".join(words[1:]))


def on_path(interpreter: str) -> Path | None:
    """The executable that a path or a name on PATH stands for."""
    found = shutil.which(os.path.expanduser(interpreter))
    return Path(found).absolute() if found else None


def _of_pyenv() -> list[Path]:
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    return sorted(root.glob("versions/*/bin"))


def _key(interpreter: Interpreter) -> list[int]:
    return [int(part) for part in interpreter.version.split(".")]


def _silent(_: str) -> None:
    """For output that nobody needs."""
