"""The environments of this host, as the rest of the server uses them."""

import os
import sys
import threading
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from runyard.errors import EnvironmentException
from runyard.protocol.environments import BaseImage, EnvironmentLock, EnvironmentSpec
from runyard_server.environments import conda as conda_specs
from runyard_server.environments import conda_solve, requirements, resolve
from runyard_server.environments.build import Builds, ReadyEnvironment
from runyard_server.environments.cache import EnvironmentCache
from runyard_server.environments.conda_channels import CondaSettings
from runyard_server.environments.conda_command import Conda
from runyard_server.environments.container_engine import ContainerSettings
from runyard_server.environments.images import Images
from runyard_server.environments.interpreters import Interpreter, Interpreters, matches, on_path, own_version, probe
from runyard_server.environments.programs import Log
from runyard_server.environments.uv_command import Uv
from runyard_server.environments.wheels import Wheels

__all__ = ["Environments", "ReadyEnvironment"]


class Environments:
    """Resolves, builds and keeps environments. Safe to use from several threads and processes.

    Args:
        root: folder of the built environments, shared by all workspaces of a user.
        uv: the ``uv`` program; None finds it.
        python_directories: directories that hold Python executables, searched first.
        wheels: folder of the wheels that are compiled here; None puts it beside the environments.
        conda: how conda packages are answered.
        pytorch_cpu: where PyTorch's CPU builds are: the address of an index, or a folder of wheels.
        containers: how environments with an image are served.
    """

    def __init__(
        self,
        root: Path,
        uv: str | None = None,
        python_directories: Sequence[Path] = (),
        wheels: Path | None = None,
        conda: CondaSettings | None = None,
        pytorch_cpu: str = "",
        containers: ContainerSettings | None = None,
    ) -> None:
        root = Path(os.path.abspath(root))
        self._wheels = Wheels(Path(os.path.abspath(wheels)) if wheels else root / "wheels")
        self._pytorch_cpu = pytorch_cpu
        self._uv = Uv(uv, root)
        self._interpreters = Interpreters(self._uv, python_directories)
        self._conda = Conda(root, conda or CondaSettings())
        self._builds = Builds(root, self._uv, self._interpreters, self._wheels, self._conda)
        self._images = Images(root / "images", self._uv, containers or ContainerSettings())
        self.cache = EnvironmentCache(self._builds, self._wheels, self._conda)

    @property
    def uv(self) -> str:
        """Path of the uv that builds environments here; raises EnvironmentException where there is none."""
        return self._uv.path

    def check(self, spec: EnvironmentSpec, elsewhere: bool = False) -> None:
        """Refuses at once what could never be resolved; needs no network.

        Args:
            elsewhere: whether it is for other hosts than this one.
        Raises:
            EnvironmentException: an unknown framework version, a package line that cannot be read, a container image
                where none can be run, or the interpreter of a user-managed environment that is not here.
        """
        if spec.docker_image:
            self._images.check(spec, elsewhere)
        if not spec.user_managed:
            self._wanted(spec)
        elif not spec.docker_image:
            self.check_user_managed(spec)

    def with_default_image(self, spec: EnvironmentSpec) -> EnvironmentSpec:
        """The spec with the server's own image where a container is wanted and none is named."""
        return self._images.with_default(spec)

    def base(self, spec: EnvironmentSpec, log: Log, cancel: threading.Event | None = None) -> BaseImage:
        """The container image that a spec names, as this host has it now; fetched where it is not here.

        Raises:
            EnvironmentException: it cannot be had.
        """
        assert spec.docker_image is not None
        image = self._images.pin(spec.docker_image, log, cancel)
        return replace(image, interpreter=spec.interpreter or "") if spec.user_managed else image

    def resolve_in(
        self, image: BaseImage, spec: EnvironmentSpec, log: Log, cancel: threading.Event | None = None
    ) -> EnvironmentLock:
        """As ``resolve``, for packages that are installed in a container image, or for the image as it is."""
        if spec.user_managed:
            return resolve.lock_of("", "", requirements.Wanted(), image=image)
        wanted = requirements.wanted(spec, None, "has no part in container images")
        for note in [*wanted.notes, *(f"WARNING: {warning}" for warning in wanted.warnings)]:
            log(note)
        if wanted.horovod is not None:
            raise EnvironmentException(
                "Horovod is compiled for the server's machine, not for an image. Take an image that has Horovod, with "
                "user_managed_dependencies, or leave the image out."
            )
        if wanted.pythons:
            version = wanted.pythons[0]
        else:
            found = self._images.python_of(image, ["python3", "python"])
            version = found[1] if found else own_version()
        interpreter = Interpreter(Path(sys.executable), version, is_elsewhere=not matches(own_version(), version))
        return resolve.resolve(wanted, interpreter, self._uv, log, cancel, image=image)

    def resolve(self, spec: EnvironmentSpec, log: Log, cancel: threading.Event | None = None) -> EnvironmentLock:
        """Exact pins with hashes for ``spec``.

        Args:
            log: gets each line of the work when it is written, without secrets.
            cancel: ends the work when set.
        Raises:
            EnvironmentException: the spec asks for what does not exist or does not fit together.
            StorageFullError: the disk has no room.
        """
        if spec.user_managed:
            raise EnvironmentException("A user-managed environment is used as it is; there is nothing to resolve.")
        only_conda: frozenset[str] = frozenset()
        said: set[str] = set()
        while True:
            wanted = self._wanted(spec, only_conda)
            notes = [*wanted.notes, *(f"WARNING: {warning}" for warning in wanted.warnings)]
            for note in notes:
                if note not in said:
                    log(note)
            said.update(notes)
            solved = conda_solve.solve(wanted, self._conda, log, cancel)
            interpreter = self._interpreters.find(_versions(wanted, solved), log)
            try:
                return resolve.resolve(wanted, interpreter, self._uv, log, cancel, solved)
            except resolve.LackedByPip as lacked:
                log(f"{lacked} Asking conda channels for it")
                only_conda |= {lacked.conda_spec}

    def _wanted(self, spec: EnvironmentSpec, only_conda: Collection[str] = ()) -> requirements.Wanted:
        absence = self._conda.absence or conda_specs.NOT_WANTED
        return requirements.wanted(spec, self._conda.usable, absence, only_conda, self._pytorch_cpu)

    def ensure(self, lock: EnvironmentLock, log: Log, cancel: threading.Event | None = None) -> ReadyEnvironment:
        """The environment of ``lock``: at once where it is built and whole, else it is built now.

        Raises:
            EnvironmentException: it cannot be built.
            StorageFullError: the disk has no room.
        """
        return (self._builds if lock.image is None else self._images).ensure(lock, log, cancel)

    def is_ready(self, key: str) -> ReadyEnvironment | None:
        """The environment if it is built and whole, verified by one walk over its files."""
        return self._builds.ready(key, lambda _: None)

    def wheels_of(self, lock: EnvironmentLock) -> dict[str, str]:
        """What of a lock was compiled here: the digest of each wheel, by the name of its file.

        Raises:
            EnvironmentException: one is not here any more.
        """
        found = {package.name: self._wheels.kept(package) for package in lock.compiled}
        for name, wheel in found.items():
            if wheel is None:
                raise EnvironmentException(f"The wheel of {name} that was compiled here is gone. Submit the run again.")
        return {wheel.path.name: wheel.sha256 for wheel in found.values() if wheel is not None}

    def wheel(self, sha256: str) -> Path | None:
        """The file of a wheel that was compiled here, by its digest."""
        return self._wheels.find(sha256)

    def locate(self, key: str) -> ReadyEnvironment | None:
        """Where a built environment lies; costs one small file, and says nothing of what is in it."""
        return self._builds.locate(key) or self._images.locate(key)

    def check_user_managed(self, spec: EnvironmentSpec) -> ReadyEnvironment:
        """The interpreter that a user-managed environment names, untouched.

        ``interpreter`` is a path or a name on PATH; None means ``python``, as on Azure ML.

        Raises:
            EnvironmentException: it is not here, does not run, is too old or not the version asked for.
        """
        asked = spec.interpreter or "python"
        path = on_path(asked) or (on_path("python3") if spec.interpreter is None else None)
        if path is None:
            raise EnvironmentException(
                f"The interpreter {asked!r} of the user-managed environment is not here. Set "
                "python.interpreter_path to the path of a Python executable, or leave user_managed_dependencies "
                "out to have the environment built."
            )
        found = probe(path)
        if found is None:
            raise EnvironmentException(
                f"{path}, the interpreter of the user-managed environment, does not run as CPython."
            )
        version = tuple(int(part) for part in found.version.split("."))
        if version[:2] < requirements.OLDEST_PYTHON:
            raise EnvironmentException(f"{path} is Python {found.version}; 3.7 is the oldest that runs here.")
        if spec.python_version and not matches(found.version, spec.python_version):
            raise EnvironmentException(
                f"{path} is Python {found.version}, but the environment asks for Python {spec.python_version}."
            )
        return ReadyEnvironment(None, path, path.parent.parent, found.version)


def _versions(wanted: requirements.Wanted, solved: conda_solve.Solution | None) -> tuple[str, ...]:
    """Python versions of the interpreter that resolves pip's packages.

    Where the environment's is conda's, any will do: uv needs but its number. What is compiled here needs one like it.
    """
    if solved is None or solved.python_version is None:
        return wanted.pythons
    return (solved.python_version.rpartition(".")[0],) if wanted.horovod else ()
