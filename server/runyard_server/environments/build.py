"""From a lock to a ready environment, built once per host and verified before each use.

One environment lies in ``<root>/<key>/``::

    1/venv/...        a generation: one build; damaged ones are replaced by the next, never changed
    1/files.txt       its listing
    ready.json        names the generation that is whole; written last
    requirements.txt  the lock, and of conda's packages conda.json
    used              its modification time is the last use

Beside them, ``<root>/bytecode/`` has what was compiled of their packages.
"""

import json
import os
import re
import shutil
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from runyard.errors import EnvironmentException
from runyard.protocol.environments import EnvironmentLock
from runyard_server.environments import causes, conda_cache, conda_solve, listing, orphans
from runyard_server.environments.bytecode import compile_modules
from runyard_server.environments.compiling import compile_package
from runyard_server.environments.conda_command import Conda
from runyard_server.environments.disk import full_disk_named, held
from runyard_server.environments.interpreters import Interpreter, Interpreters
from runyard_server.environments.programs import Log
from runyard_server.environments.uv_command import Uv, UvFailed, patience
from runyard_server.environments.wheels import Wheels

_LOST = re.compile(
    r"you require ([A-Za-z0-9][\w.\-]*==[^\s,]+), we can conclude that your requirements are unsatisfiable"
)


@dataclass(frozen=True)
class ReadyEnvironment:
    """An environment that scripts can run in.

    Attributes:
        key: None for a user-managed one.
        python: its interpreter.
        directory: its prefix.
        warnings: what runs in it should be told.
        image: of one that is in a container image: the image as nodes name it, and the engine that runs it.
    """

    key: str | None
    python: Path
    directory: Path
    python_version: str = ""
    warnings: tuple[str, ...] = ()
    image: tuple[str, str] | None = None


@dataclass(frozen=True)
class Marker:
    """What ``ready.json`` holds."""

    generation: int
    python_version: str
    size_bytes: int
    file_count: int
    built_at: float
    build_s: float


class Builds:
    """The environments below ``root``. Safe to use from several threads and processes."""

    def __init__(self, root: Path, uv: Uv, interpreters: Interpreters, wheels: Wheels, conda: Conda) -> None:
        self.root = root
        self._wheels = wheels
        self._conda = conda
        self._uv = uv
        self._interpreters = interpreters

    @property
    def bytecode(self) -> Path:
        """What was compiled of the packages, for all environments."""
        return self.root / "bytecode"

    def ready(self, key: str, log: Log) -> ReadyEnvironment | None:
        """The environment if it is built and whole. Costs one walk over its files; marks its use."""
        found = self.locate(key)
        if found is None:
            return None
        problem = listing.problem(found.directory, found.directory.parent / "files.txt")
        if problem is None and not found.python.exists():
            problem = "the Python that it was built on is gone"
        if problem is not None:
            log(f"Environment {key[:12]} is damaged: {problem}")
            return None
        self._touch(key)
        return found

    def ensure(self, lock: EnvironmentLock, log: Log, cancel: threading.Event | None) -> ReadyEnvironment:
        """The environment, built now where it is not ready. Whoever comes meanwhile waits for that build.

        Raises:
            EnvironmentException: it cannot be built.
            StorageFullError: the disk has no room.
        """
        found = self.ready(lock.key, lambda _: None)  # what is wrong is said once, by who builds
        if found is not None:
            return found
        with self.locked(lock.key, log, cancel):
            found = self.ready(lock.key, log)
            return found if found is not None else self._build(lock, log, cancel)

    def locate(self, key: str) -> ReadyEnvironment | None:
        """Where a built environment lies, without a look at its files."""
        marker = self.marker(key)
        if marker is None:
            return None
        venv = self._generation(key, marker.generation) / "venv"
        return ReadyEnvironment(key, venv / "bin" / "python", venv, marker.python_version)

    def locked(self, key: str, log: Log, cancel: threading.Event | None) -> AbstractContextManager[None]:
        """Holds the environment's lock, across threads and processes; it ends with its holder."""
        return held(self.root / "locks" / f"{key}.lock", f"Environment {key[:12]} is being built", log, cancel)

    def marker(self, key: str) -> Marker | None:
        """What is known of a built environment; None where there is none that was finished."""
        try:
            return Marker(**json.loads((self.root / key / "ready.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def all_keys(self) -> list[str]:
        """Keys of all environments here, half-built ones too."""
        if not self.root.is_dir():
            return []
        return sorted(entry.name for entry in os.scandir(self.root) if entry.is_dir() and len(entry.name) == 40)

    def _build(self, lock: EnvironmentLock, log: Log, cancel: threading.Event | None) -> ReadyEnvironment:
        started = time.monotonic()
        home = self.root / lock.key
        of_conda = conda_solve.python_of(lock.conda)
        interpreter = None if of_conda else self._interpreters.find([lock.python_version], log)
        python_version = interpreter.version if interpreter else lock.python_version
        orphans.end()  # before their folder is removed: they would write it anew
        compiled = self._compiled(lock, interpreter, log, cancel) if lock.compiled else ""
        with full_disk_named():
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
            generation = self._next_generation(lock.key)
            directory = self._generation(lock.key, generation)
            directory.mkdir(parents=True)
            (home / "requirements.txt").write_text(lock.requirements + compiled, encoding="utf-8")
            conda_cache.write_list(home, lock.conda)
        count = lock.requirements.count("==") + lock.requirements.count(" @ ") + len(lock.compiled) + len(lock.conda)
        log(
            f"Building environment {lock.key[:12]}: Python {python_version}{' of conda' if of_conda else ''}, "
            f"{count} package{'' if count == 1 else 's'}"
        )
        venv = directory / "venv"
        self._install(lock, interpreter, venv, log, cancel)
        compile_modules(venv / "bin" / "python", venv, self.bytecode, log, cancel)
        with full_disk_named():
            file_count, size_bytes = listing.write(venv, directory / "files.txt")
            build_s = round(time.monotonic() - started, 3)
            self._write_marker(home, Marker(generation, python_version, size_bytes, file_count, time.time(), build_s))
            self._touch(lock.key)
        log(f"Environment {lock.key[:12]} is ready after {build_s:.1f} s ({size_bytes / 1e6:,.0f} MB)")
        return ReadyEnvironment(lock.key, venv / "bin" / "python", venv, python_version)

    def _compiled(
        self, lock: EnvironmentLock, interpreter: Interpreter | None, log: Log, cancel: threading.Event | None
    ) -> str:
        """Requirement lines of the wheels that this host compiles itself; for conda's Python, with one like it."""
        lines = ""
        if interpreter is None:
            interpreter = self._interpreters.find([lock.python_version.rpartition(".")[0]], log)
        for package in lock.compiled:
            compile_in = partial(compile_package, package, lock, interpreter, self._uv, log=log, cancel=cancel)
            try:
                lines += self._wheels.ensure(package, compile_in, log, cancel).requirement
            except UvFailed as error:
                raise EnvironmentException(_failure(error)) from error
        return lines

    def _install(
        self,
        lock: EnvironmentLock,
        interpreter: Interpreter | None,
        venv: Path,
        log: Log,
        cancel: threading.Event | None,
    ) -> None:
        try:
            if interpreter is not None:
                arguments = ["venv", "--no-project", "--quiet", "--python", str(interpreter.path), str(venv)]
                self._uv.run(arguments, log, cancel=cancel)
            if lock.conda:
                self._conda.install(lock.conda, venv, log, cancel)
            if not lock.requirements.strip():
                return
            self._install_packages(lock, venv, log, cancel)
            damaged = self._damaged(venv)
            if damaged:
                names = [each.package for each in damaged]
                log(f"The package cache holds a damaged copy of {', '.join(names)}; fetching afresh")
                self._uv.run(["cache", "clean", "--quiet", *names], log, cancel=cancel)
                self._install_packages(lock, venv, log, cancel, ["--reinstall"])
                damaged = self._damaged(venv)
        except UvFailed as error:
            raise EnvironmentException(_failure(error)) from error
        certain = [each.package for each in damaged if each.is_certain]
        if certain:
            raise EnvironmentException(
                f"The files of {', '.join(certain)} do not have the sizes that the package itself records. "
                "The package registry gave a damaged package, or the disk lost data."
            )
        if damaged:  # the archives have just come with the lock's hashes: their makers did not update the record
            log(f"The files of {', '.join(each.package for each in damaged)} are not as the package itself records")

    def _install_packages(
        self, lock: EnvironmentLock, venv: Path, log: Log, cancel: threading.Event | None, more: list[str] | None = None
    ) -> None:
        arguments = ["pip", "install", "--python", str(venv / "bin" / "python"), "--no-deps", "--strict"]
        # conda's Python is no virtual environment, and may say that it is not pip's to change
        arguments += ["--break-system-packages"] if conda_solve.python_of(lock.conda) else []
        arguments += [*_hash_checking(lock), "-r", str(venv.parent.parent / "requirements.txt"), *lock.options]
        # Without the network first: what is cached needs none, and asking for it again takes longer.
        held_back: list[str] = []
        try:
            self._uv.run([*arguments, *(more or []), "--offline"], held_back.append, cancel=cancel)
            for line in held_back:
                log(line)
        except UvFailed:
            self._uv.run([*arguments, *(more or [])], log, variables=patience(), cancel=cancel)

    def _damaged(self, venv: Path) -> list[listing.Damage]:
        of_conda = listing.of_conda(venv)
        sites = venv.glob("lib/python*/site-packages")
        return [each for site in sites for each in listing.damaged_packages(site, of_conda)]

    def _next_generation(self, key: str) -> int:
        """A free number; half-built generations are removed, finished ones stay for who may still run in them."""
        numbers = [int(entry.name) for entry in os.scandir(self.root / key) if entry.is_dir() and entry.name.isdigit()]
        for number in numbers:
            directory = self._generation(key, number)
            if not (directory / "files.txt").exists():
                shutil.rmtree(directory, ignore_errors=True)  # what cannot be removed now is removed by prune
        return max(numbers, default=0) + 1

    def _generation(self, key: str, generation: int) -> Path:
        return self.root / key / str(generation)

    def _touch(self, key: str) -> None:
        (self.root / key / "used").touch()

    @staticmethod
    def _write_marker(home: Path, marker: Marker) -> None:
        temporary = home / "ready.json.new"
        with open(temporary, "w", encoding="utf-8") as out:
            json.dump(asdict(marker), out)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, home / "ready.json")


def _hash_checking(lock: EnvironmentLock) -> list[str]:
    """Every pin has a hash, but for those that name a commit instead."""
    return [] if " @ git+" in lock.requirements else ["--require-hashes"]


def _failure(error: UvFailed) -> str:
    if error.is_network:
        return (
            f"The packages of the environment cannot be fetched: {causes.of_network(error)}. It was asked several "
            "times. Check the network and submit again; what was fetched so far is kept."
        )
    said = causes.of_index(error)
    if said:
        return said
    lost = _LOST.search(" ".join(error.output.split()))
    if lost:
        return (
            f"The lock of the environment names {lost[1]}, which the package index does not have any more. Have it put "
            f"back there, or ask for another version of {lost[1].partition('==')[0]}, which makes a new lock."
        )
    return f"The environment could not be built: {error.command} failed.\n{error.output[-2000:]}"
