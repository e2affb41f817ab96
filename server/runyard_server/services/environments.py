"""What may be asked of environments: register and find them, lock and prepare them, look at what is built."""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

from sqlalchemy.exc import IntegrityError

from runyard.errors import EnvironmentException, UnknownEnvironmentError
from runyard.names import check_environment_name, check_variable_name
from runyard.protocol.codec import to_json
from runyard.protocol.environments import (
    CachedEnvironment,
    EnvironmentLock,
    EnvironmentRecord,
    EnvironmentSpec,
    PrunedEnvironments,
)
from runyard_server.domain.clock import Clock
from runyard_server.environments.provision import Environments, ReadyEnvironment
from runyard_server.records import environments as records
from runyard_server.records.engine import Database

__all__ = ["EnvironmentService", "ReadyEnvironment", "spec_digest"]

Log = Callable[[str], None]

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,63}")
_HOROVOD = re.compile(r"\s*horovod\b", re.IGNORECASE)
_ATTEMPTS = 10  # registrations of one name that may collide at one moment
_SHOWN = 20  # names in a message


class EnvironmentService:
    """What may be asked of environments. Safe to use from several threads."""

    def __init__(self, database: Database, clock: Clock, environments: Environments) -> None:
        self._database = database
        self._clock = clock
        self._environments = environments
        self._resolving = _OneAtATime()

    # registered environments

    def register(self, spec: EnvironmentSpec) -> EnvironmentRecord:
        """Keeps ``spec`` under its name; the same content as the newest version gives that version.

        A spec with a ``version`` of its own gets that version, others the next number.

        Raises:
            EnvironmentException: a name or version against the rules, a version that is taken by another
                content, or a spec that could never be prepared.
        """
        check_environment_name(spec.name)
        self._check_content(spec)
        for _ in range(_ATTEMPTS):
            try:
                return self._registered(spec)
            except IntegrityError:
                continue  # somebody registered that version at the same moment: look again
        raise EnvironmentException(f"The environment '{spec.name}' is being registered by many at once. Try again.")

    def get(self, name: str, version: str | None = None) -> EnvironmentRecord:
        """A version of a registered environment, the newest where ``version`` is None.

        Raises:
            UnknownEnvironmentError: there is none; the message says which there are.
        """
        found = self.versions(name)
        if version is None:
            return found[-1]
        for record in found:
            if record.version == str(version):
                return record
        there = ", ".join(record.version for record in found[-_SHOWN:])
        raise UnknownEnvironmentError(f"The environment '{name}' has no version {str(version)!r}. Versions: {there}.")

    def list(self) -> Sequence[EnvironmentRecord]:
        """The newest version of each registered environment, by name."""
        with self._database.read() as connection:
            return records.latest(connection)

    def versions(self, name: str) -> Sequence[EnvironmentRecord]:
        """All versions of a registered environment, the oldest first.

        Raises:
            UnknownEnvironmentError: no environment has that name.
        """
        with self._database.read() as connection:
            found = records.versions(connection, name)
            names = [record.name for record in records.latest(connection)] if not found else []
        if not found:
            there = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
            raise UnknownEnvironmentError(
                f"No environment '{name}' is registered in this workspace. Registered: {there or 'none'}. "
                "Register one with Environment.register(workspace)."
            )
        return found

    # locks

    def check(self, spec: EnvironmentSpec, elsewhere: bool = False) -> None:
        """Refuses at once what could never be prepared; needs no network.

        Args:
            elsewhere: whether it is for other hosts than this one.
        Raises:
            EnvironmentException: what is wrong, and what is allowed.
        """
        self._environments.check(spec, elsewhere)

    def with_default_image(self, spec: EnvironmentSpec) -> EnvironmentSpec:
        """The spec with the server's own image where a container is wanted and none is named."""
        return self._environments.with_default_image(spec)

    def lock_for(self, spec: EnvironmentSpec, log: Log) -> EnvironmentLock:
        """The lock of a spec: resolved once in the workspace, the same ever after.

        Raises:
            EnvironmentException: the spec cannot be resolved.
            StorageFullError: the disk has no room.
        """
        digest = spec_digest(spec)
        resolve = self._environments.resolve
        if spec.docker_image is not None:
            image = self._environments.base(spec, log)
            # What has that name now: a new image under an old name makes another environment.
            digest = spec_digest(replace(spec, docker_image=image.id))
            resolve = partial(self._environments.resolve_in, image)
        kept = self._kept_lock(digest)
        if kept is None:
            with self._resolving.of(digest):
                kept = self._kept_lock(digest)
                if kept is None:
                    resolved = resolve(spec, log)
                    with self._database.write() as connection:
                        return records.put_lock(connection, digest, resolved, self._clock.now())
        for note in kept.notes:
            log(note)
        for warning in kept.warnings:
            log(f"WARNING: {warning}")
        return kept

    def lock_by_key(self, key: str) -> EnvironmentLock | None:
        """The lock of an environment that some run of this workspace had."""
        with self._database.read() as connection:
            return records.get_lock_by_key(connection, key)

    # what scripts run in

    def ready(self, spec: EnvironmentSpec, key: str | None = None) -> ReadyEnvironment | None:
        """The environment of a run if it stands already; quick: no network, no build.

        Args:
            key: of an earlier run's environment, where that one is to be used again.
        Raises:
            EnvironmentException: the interpreter of a user-managed environment is not here.
        """
        if spec.docker_image is not None:
            return None  # even to look for an image takes the engine a moment
        if spec.user_managed:
            return self._environments.check_user_managed(spec)
        lock = self._kept_lock(spec_digest(spec)) if key is None else self.lock_by_key(key)
        if lock is None:
            return self._environments.is_ready(key) if key is not None else None
        found = self._environments.is_ready(lock.key)
        return replace(found, warnings=tuple(lock.warnings)) if found is not None else None

    def interpreter(self, spec: EnvironmentSpec, key: str | None) -> ReadyEnvironment:
        """The prepared environment of a run whose processes are about to start; costs one small file.

        Raises:
            EnvironmentException: it is no longer on this host.
        """
        if spec.user_managed and spec.docker_image is None:
            return self._environments.check_user_managed(spec)
        found = self._environments.locate(key) if key else None
        if found is None:
            raise EnvironmentException(
                f"The environment {(key or '')[:12]!r} of the run is no longer on this host. Submit the run again."
            )
        return found

    def prepare(self, spec: EnvironmentSpec, key: str | None, log: Log) -> ReadyEnvironment:
        """The environment of a run, resolved and built where it has to be; may take minutes.

        Raises:
            EnvironmentException: it cannot be resolved or built, or there is no lock with that key.
            StorageFullError: the disk has no room.
        """
        if spec.user_managed and spec.docker_image is None:
            return self._environments.check_user_managed(spec)
        if key is None:
            lock = self.lock_for(spec, log)
        else:
            found = self.lock_by_key(key)
            if found is None:
                raise EnvironmentException(
                    f"The environment {key!r} of the earlier run is not known in this workspace. "
                    "Submit the script anew."
                )
            lock = found
        return replace(self._environments.ensure(lock, log), warnings=tuple(lock.warnings))

    # what is built on this host

    def cached(self) -> Sequence[CachedEnvironment]:
        """All built environments of this host, the last used first."""
        return self._environments.cache.entries()

    def cached_one(self, key: str) -> CachedEnvironment:
        """One built environment, by its key or the beginning of it.

        Raises:
            UnknownEnvironmentError: none or several begin like that.
        """
        found = self._environments.cache.show(key)
        if found is None:
            raise UnknownEnvironmentError(
                f"No built environment, or more than one, has a key that begins with {key!r}. "
                "'runyard env list' shows them."
            )
        return found

    def prune(self, unused_for_s: float = 0.0, dry_run: bool = False, log: Log | None = None) -> PrunedEnvironments:
        """Removes the built environments that nothing used for ``unused_for_s`` seconds and no run waits for.

        Their locks stay: a later run builds the very same one again.
        """
        with self._database.read() as connection:
            keep = records.keys_in_use(connection)
        return self._environments.cache.prune(max(0.0, unused_for_s), keep, dry_run, log or (lambda _: None))

    def _kept_lock(self, digest: str) -> EnvironmentLock | None:
        with self._database.read() as connection:
            return records.get_lock(connection, digest)

    def _check_content(self, spec: EnvironmentSpec) -> None:
        for name in spec.variables:
            check_variable_name(name)
        if spec.version is not None and not _VERSION.fullmatch(spec.version):
            raise EnvironmentException(
                f"The environment version {spec.version!r} is against the rules: 1 to 64 letters, digits, '.', '_' and "
                "'-', the first a letter or digit. Leave it out to get the next number."
            )
        if not spec.user_managed and spec.docker_image is None:
            self._environments.check(spec)

    def _registered(self, spec: EnvironmentSpec) -> EnvironmentRecord:
        assert spec.name is not None
        content = _content(spec)
        with self._database.write() as connection:
            found = records.versions(connection, spec.name)
            if found and _content(found[-1].spec) == content:
                return found[-1]
            same = [record for record in found if record.version == spec.version]
            if same and _content(same[0].spec) == content:
                return same[0]
            if same and spec.version is not None and not spec.version.isdecimal():
                raise EnvironmentException(
                    f"The environment '{spec.name}' has a version {spec.version!r} with another content. "
                    "Give another version, or leave it out to get the next number."
                )
            numbers = [int(record.version) for record in found if record.version.isdecimal()]
            # An environment that was read back and changed still carries its old number: that is no wish for it.
            is_new = spec.version is not None and not same
            version = str(spec.version) if is_new else str(max(numbers, default=0) + 1)
            record = EnvironmentRecord(spec.name, version, replace(spec, version=version), self._clock.now())
            records.add(connection, record)
            return record


def of_packages(spec: EnvironmentSpec) -> EnvironmentSpec:
    """What of a spec decides the packages: neither its name nor its variables, nor how its container is run."""
    plain = replace(spec, name=None, version=None, variables={})
    return replace(plain, docker_wanted=False, docker_shm_size=None, docker_arguments=[])


def spec_digest(spec: EnvironmentSpec) -> str:
    """Digest of what decides the packages: not the name, the variables or the order of the packages."""
    content = {
        **_content(of_packages(spec)),
        "pip_packages": sorted(line.strip() for line in spec.pip_packages),
        "conda_packages": sorted(line.strip() for line in spec.conda_packages),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("utf-8")).hexdigest()


def _content(spec: EnvironmentSpec) -> dict[str, object]:
    content: dict[str, object] = to_json(replace(spec, name=None, version=None))
    for name in ("mpi", "notebook", "packages_as_of", "docker_wanted", "docker_shm_size", "docker_arguments"):
        if not content[name]:
            del content[name]  # specs that were locked before there was such a thing keep their locks
    if _gets_horovod(spec):
        content["with"] = "horovod"  # and those that were locked without it get another one
    if spec.conda_solver is None:
        del content["conda_solver"]  # the same
    return content


def _gets_horovod(spec: EnvironmentSpec) -> bool:
    packages = [*spec.pip_packages, *spec.conda_packages]
    return (spec.mpi and spec.framework == "tensorflow") or any(_HOROVOD.match(line) for line in packages)


class _OneAtATime:
    """A lock per name; a name that nobody holds takes no memory."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held: dict[str, tuple[threading.Lock, int]] = {}

    def of(self, name: str) -> AbstractContextManager[None]:
        return _Held(self, name)

    def enter(self, name: str) -> None:
        with self._guard:
            lock, count = self._held.get(name, (threading.Lock(), 0))
            self._held[name] = (lock, count + 1)
        lock.acquire()

    def leave(self, name: str) -> None:
        with self._guard:
            lock, count = self._held[name]
            if count == 1:
                del self._held[name]
            else:
                self._held[name] = (lock, count - 1)
        lock.release()


class _Held(AbstractContextManager[None]):
    def __init__(self, locks: _OneAtATime, name: str) -> None:
        self._locks = locks
        self._name = name

    def __enter__(self) -> None:
        self._locks.enter(self._name)

    def __exit__(self, *_: object) -> None:
        self._locks.leave(self._name)
