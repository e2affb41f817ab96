"""From a lock to an image: its base as it is, or the base with the packages of the lock in it.

An image is known by its environment's key, on this host and in the registry: ``<registry>/runyard/environment:<key>``.
What this host knows of one is in ``<root>/images/<key>.json``, written last.
"""

import re
import threading
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from runyard.errors import EnvironmentException
from runyard.home import read_json, write_json
from runyard.protocol.environments import BaseImage, EnvironmentLock, EnvironmentSpec
from runyard_server.environments.build import ReadyEnvironment
from runyard_server.environments.container_arguments import checked
from runyard_server.environments.container_engine import ContainerEngine, ContainerSettings, EngineFailed, as_root
from runyard_server.environments.disk import full_disk_named, held
from runyard_server.environments.image_build import PYTHON, build
from runyard_server.environments.programs import Log
from runyard_server.environments.requirements import OLDEST_PYTHON
from runyard_server.environments.uv_command import Uv

REPOSITORY = "runyard/environment"

_SIZE = re.compile(r"[1-9][0-9]*[bkmgBKMG]?")
_NAME = re.compile(r"[A-Za-z0-9][\w.\-/:@]*")
_PROBE = "import platform, sys; print(sys.executable, platform.python_implementation(), *sys.version_info[:3])"
_ABSENT = re.compile(r"manifest unknown|not found|name unknown|does not exist", re.IGNORECASE)


@dataclass(frozen=True)
class Marker:
    """What is known of an image of this host.

    Attributes:
        image: its id here.
        elsewhere: its name with digest in the registry; "" where it is in none.
        python: the interpreter inside.
    """

    image: str
    elsewhere: str
    python: str
    python_version: str


class Images:
    """The images of environments. Safe to use from several threads and processes.

    Args:
        root: folder of what is known of them.
    """

    def __init__(self, root: Path, uv: Uv, settings: ContainerSettings) -> None:
        self._root = root
        self._uv = uv
        self._registry = settings.registry
        self._default = settings.image
        self.engine = ContainerEngine(settings.engine)

    def check(self, spec: EnvironmentSpec, elsewhere: bool) -> None:
        """Refuses at once what could never be had; asks no registry.

        Args:
            elsewhere: whether the image must come to other hosts.
        Raises:
            EnvironmentException: what is wrong, and what to do.
        """
        checked(spec.docker_arguments)
        if spec.docker_shm_size is not None and not _SIZE.fullmatch(spec.docker_shm_size):
            raise EnvironmentException(
                f"shm_size is {spec.docker_shm_size!r}. It is a number with b, k, m or g behind it, such as '2g'."
            )
        if spec.mpi:
            raise EnvironmentException(
                "An MPI run cannot have a container image: MPI's process manager stands on the nodes. Leave the image out and "
                "name the packages, or use PyTorchConfiguration or TensorflowConfiguration, whose ranks run in containers."
            )
        image = spec.docker_image or ""
        if not _NAME.fullmatch(image):
            raise EnvironmentException(
                f"{image!r} is no name of an image. Names are like 'python:3.11-slim' or 'registry.example/team/image:1'."
            )
        why = self.engine.absence
        if why:
            raise EnvironmentException(
                f"The environment asks for the container image {image!r}, but this server has no container engine: {why}. "
                "Install podman on its machine, or leave the image out and name the packages "
                "(pip_packages, framework_version): a run needs no container."
            )
        if elsewhere and not self._registry:
            raise EnvironmentException(
                f"The environment asks for the container image {image!r} on other machines, which fetch it from a registry; "
                "this server knows none. Start it with RUNYARD_CONTAINER_REGISTRY=HOST[:PORT][/PATH], or run on 'local'."
            )

    def with_default(self, spec: EnvironmentSpec) -> EnvironmentSpec:
        """The spec with the server's own image where a container is wanted and none is named."""
        if spec.docker_image is not None or not spec.docker_wanted or not self._default:
            return spec
        return replace(spec, docker_image=self._default)

    def pin(self, name: str, log: Log, cancel: threading.Event | None = None) -> BaseImage:
        """The image that the engine has under a name, fetched where it has none; and its newest Python.

        Raises:
            EnvironmentException: it cannot be had.
        """
        found = self.engine.inspect(name)
        if found is None:
            log(f"Fetching the image {name}")
            try:
                self.engine.run(["pull", name], log, cancel)
            except EngineFailed as error:
                raise EnvironmentException(
                    f"The image {name!r} cannot be had: {error.last_line}. Check its name and its registry, and log in there "
                    f"on the server's machine if it asks for that ({self.engine.name} login). Where the image is gone, one of "
                    f"your own takes its place there: {self.engine.name} tag IMAGE {name}"
                ) from error
            found = self.engine.inspect(name)
        if found is None:
            raise EnvironmentException(f"The image {name!r} was fetched, but is not here.")
        digests = [each for each in found.get("RepoDigests") or [] if not each.startswith("localhost/")]
        identity = str(found["Id"]).removeprefix("sha256:")
        return BaseImage(name=name, id=identity, reference=digests[0] if digests else None)

    def python_of(self, base: BaseImage, names: list[str]) -> tuple[str, str] | None:
        """Path and version of the first Python of an image that is new enough, None where it has none that runs."""
        for name in names:
            try:
                said = self.engine.run([*as_root(base.id, name), "-I", "-S", "-c", _PROBE]).split()
            except EngineFailed:
                continue
            if len(said) == 5 and said[1] == "CPython" and (int(said[2]), int(said[3])) >= OLDEST_PYTHON:
                return said[0], ".".join(said[2:])
        return None

    def locate(self, key: str) -> ReadyEnvironment | None:
        """What is known of an image, without a look at it."""
        marker = self._marker(key)
        return None if marker is None else self._ready(key, marker)

    def ensure(self, lock: EnvironmentLock, log: Log, cancel: threading.Event | None = None) -> ReadyEnvironment:
        """The image of a lock: at once where it is here, else from the registry, else made now.

        Raises:
            EnvironmentException: it cannot be made, fetched or sent.
            StorageFullError: the disk has no room.
        """
        found = self._here(lock.key)
        if found is not None:
            return found
        with self._held(lock.key, log, cancel):
            found = self._here(lock.key)
            return found if found is not None else self._make(lock, log, cancel)

    def _here(self, key: str) -> ReadyEnvironment | None:
        marker = self._marker(key)
        if marker is None or marker.elsewhere.partition("@")[0] != self._repository:
            return None
        return None if self.engine.inspect(marker.image) is None else self._ready(key, marker)

    def _make(self, lock: EnvironmentLock, log: Log, cancel: threading.Event | None) -> ReadyEnvironment:
        assert lock.image is not None
        tag = f"{self._repository or 'localhost/' + REPOSITORY}:{lock.key}"
        elsewhere = ""
        if self._repository and self._fetched(tag, log, cancel):
            elsewhere = self._digest_of(tag, cancel)
        else:
            self._bring_base(lock.image, log, cancel)
            if lock.image.interpreter is None:
                build(self.engine, self._uv, lock, tag, self._root, log, cancel)
            else:
                self.engine.run(["tag", lock.image.id, tag])
            if self._repository:
                elsewhere = self._sent(tag, log, cancel)
        image = self.engine.inspect(tag)
        if image is None:
            raise EnvironmentException(f"The image {tag} was made, but is not here.")
        identity = str(image["Id"]).removeprefix("sha256:")
        python, version = self._python_in(lock, identity)
        marker = Marker(identity, elsewhere, python, version)
        with full_disk_named():
            self._write(lock.key, marker)
        log(f"Image {lock.key[:12]} is ready: {elsewhere or tag}")
        return self._ready(lock.key, marker)

    def _python_in(self, lock: EnvironmentLock, identity: str) -> tuple[str, str]:
        assert lock.image is not None
        asked = lock.image.interpreter
        names = [PYTHON] if asked is None else [asked] if asked else ["python", "python3"]
        found = self.python_of(BaseImage(lock.image.name, identity), names)
        if found is None:
            raise EnvironmentException(
                f"The image {lock.image.name!r} has no Python of 3.7 or later at {' or '.join(repr(name) for name in names)} "
                "that runs. Take one that has it, set python.interpreter_path to where it is, or leave "
                "user_managed_dependencies out to have one installed."
            )
        return found

    # Fetching and sending

    def _bring_base(self, base: BaseImage, log: Log, cancel: threading.Event | None) -> None:
        if self.engine.inspect(base.id) is not None:
            return
        if base.reference is None:
            raise EnvironmentException(
                f"The image {base.name!r} was one of this host alone ({base.id[:12]}) and is gone. Make it again, and submit "
                "the script anew."
            )
        log(f"Fetching the image {base.reference}")
        try:
            self.engine.run(["pull", base.reference], log, cancel)
        except EngineFailed as error:
            raise EnvironmentException(
                f"The image {base.name!r} cannot be had any more as it was ({base.reference}): {error.last_line}."
            ) from error

    def _fetched(self, tag: str, log: Log, cancel: threading.Event | None) -> bool:
        """Whether the registry had the image, which is here then."""
        if not self._pulled(tag, cancel):
            return False
        log(f"Found in the registry: {tag}")
        return True

    def _pulled(self, name: str, cancel: threading.Event | None) -> bool:
        try:
            self.engine.run(["pull", "--quiet", name], None, cancel)
        except EngineFailed as error:
            if _ABSENT.search(error.output):
                return False
            raise self._no_registry(error) from error
        return True

    def _sent(self, tag: str, log: Log, cancel: threading.Event | None) -> str:
        """Sends an image to the registry; its name there, with its digest."""
        log(f"Sending {tag}")
        try:
            self.engine.run(["push", "--quiet", tag], log, cancel)
            if not self.engine.is_docker:  # podman knows the digest of what it has fetched, not of what it has sent
                self.engine.run(["pull", "--quiet", tag], None, cancel)
        except EngineFailed as error:
            raise self._no_registry(error) from error
        return self._digest_of(tag, cancel)

    def _digest_of(self, tag: str, cancel: threading.Event | None) -> str:
        """The name with digest by which the registry has an image that is here.

        An engine keeps several digests of one image, in no order: that of what it has built, uncompressed, which no
        registry has ever seen, is among them.
        """
        found = self.engine.inspect(tag) or {}
        digests = [str(each) for each in found.get("RepoDigests") or [] if each.startswith(f"{self._repository}@")]
        for each in digests:
            if self._pulled(each, cancel):
                return each
        raise EnvironmentException(
            f"The container registry {self._registry} was sent the image {tag}, and has it under none of the digests that "
            f"{self.engine.name} knows ({', '.join(digests) or 'none'}). Submit again; if that stays, look at the registry."
        )

    def _no_registry(self, error: EngineFailed) -> EnvironmentException:
        name = self.engine.name
        return EnvironmentException(
            f"The container registry {self._registry} of this server cannot be used: {error.last_line}. Check its address "
            f"(RUNYARD_CONTAINER_REGISTRY), log in there on the server's machine ({name} login {self._registry}), or, where it "
            f"has no certificate, name it as insecure in {name}'s own configuration."
        )

    # What is known

    @property
    def _repository(self) -> str:
        return f"{self._registry}/{REPOSITORY}" if self._registry else ""

    def _ready(self, key: str, marker: Marker) -> ReadyEnvironment:
        python = Path(marker.python)
        image = (marker.elsewhere or marker.image, self.engine.path)
        return ReadyEnvironment(key, python, python.parent.parent, marker.python_version, image=image)

    def _held(self, key: str, log: Log, cancel: threading.Event | None) -> AbstractContextManager[None]:
        return held(self._root / "locks" / f"{key}.lock", f"Image {key[:12]} is being built", log, cancel)

    def _marker(self, key: str) -> Marker | None:
        try:
            return Marker(**(read_json(str(self._root / f"{key}.json")) or {}))
        except TypeError:  # it says less, or more
            return None

    def _write(self, key: str, marker: Marker) -> None:
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_json(str(self._root / f"{key}.json"), asdict(marker))
