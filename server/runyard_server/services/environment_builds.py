"""Environments that are built before a run asks for them: ``Environment.build``. What is asked is kept in memory.

A server that ends forgets its builds; whoever asks again is told so, and a build that was done is found at once.
"""

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from runyard.errors import RunyardError, UnknownEnvironmentError
from runyard.protocol.environments import EnvironmentBuild, EnvironmentSpec
from runyard_server.services.environments import EnvironmentService

PARALLEL_BUILDS = 4
REMEMBERED = 100  # builds that have ended

QUEUED, RUNNING, SUCCEEDED, FAILED = "Queued", "Running", "Succeeded", "Failed"


@dataclass
class _Build:
    spec: EnvironmentSpec
    status: str = QUEUED
    key: str | None = None
    lines: list[str] = field(default_factory=list)


class EnvironmentBuildService:
    """Builds environments beside the runs. Safe to use from several threads.

    Args:
        begin: starts a function beside the caller; default: a thread, which a server that ends waits for no longer.
    """

    def __init__(
        self, environments: EnvironmentService, begin: Callable[[Callable[[], None]], None] | None = None
    ) -> None:
        self._environments = environments
        self._begin = begin or _in_a_thread
        self._slots = threading.Semaphore(PARALLEL_BUILDS)
        self._guard = threading.Lock()
        self._builds: dict[str, _Build] = {}

    def start(self, spec: EnvironmentSpec) -> EnvironmentBuild:
        """Begins to resolve and build; several that build the same at once build it once.

        Raises:
            EnvironmentException: a spec that could never be prepared.
        """
        if not spec.user_managed:
            self._environments.check(spec)
        build_id = uuid.uuid4().hex
        with self._guard:
            ended = [each for each, build in self._builds.items() if build.status in (SUCCEEDED, FAILED)]
            for forgotten in ended[: max(0, len(ended) - REMEMBERED + 1)]:
                del self._builds[forgotten]
            self._builds[build_id] = _Build(spec)
        self._begin(lambda: self._work(build_id))
        return self.get(build_id)

    def get(self, build_id: str, offset: int = 0) -> EnvironmentBuild:
        """How far a build is, and what it has said from its character ``offset`` on.

        Raises:
            UnknownEnvironmentError: this server has begun no such build.
        """
        with self._guard:
            build = self._builds.get(build_id)
            if build is None:
                raise UnknownEnvironmentError(
                    "This server knows no such build: it was started again since, or the build is long over. Build the "
                    "environment again: what is built already is found at once."
                )
            said = "".join(build.lines)
            return EnvironmentBuild(build_id, build.status, said[offset:], len(said), build.key)

    def _work(self, build_id: str) -> None:
        build = self._builds[build_id]
        with self._slots:
            self._become(build, RUNNING)
            try:
                ready = self._environments.prepare(build.spec, None, lambda line: self._say(build, line))
            except RunyardError as fault:
                self._say(build, f"\n{fault}")
                self._become(build, FAILED)
            except Exception as fault:
                self._say(build, f"\n{type(fault).__name__}: {fault}")
                self._become(build, FAILED)
                raise
            else:
                self._say(build, f"The environment is ready: {ready.python}")
                self._become(build, SUCCEEDED, ready.key)

    def _become(self, build: _Build, status: str, key: str | None = None) -> None:
        with self._guard:
            build.status, build.key = status, key

    def _say(self, build: _Build, line: str) -> None:
        with self._guard:
            build.lines.append(line if line.endswith("\n") else line + "\n")


def _in_a_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="environment", daemon=True).start()
