"""Runs the container engine of this host, podman or docker, its output live to a log and without secrets."""

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runyard.errors import EnvironmentException, StorageFullError
from runyard_server.environments import disk, orphans
from runyard_server.environments.programs import Log, masked, run_to_end

KNOWN = ("podman", "docker")
NONE = "none"
_ASK_AGAIN_S = 10.0  # an engine that did not answer: somebody may be installing or starting it just now
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class ContainerSettings:
    """How environments with an image are served.

    Attributes:
        engine: "podman", "docker", the path of one, or "none"; "" takes the first that answers.
        registry: where built images are kept for other hosts: a host, or host and path; "" keeps them on this one.
        image: what runs that ask for a container without naming an image are given; "" gives them none.
    """

    engine: str = ""
    registry: str = ""
    image: str = ""

    @staticmethod
    def read(environ: Mapping[str, str], registry: str = "") -> "ContainerSettings":
        """From ``RUNYARD_CONTAINER_ENGINE``, ``RUNYARD_CONTAINER_REGISTRY`` and ``RUNYARD_CONTAINER_IMAGE``.

        Args:
            registry: where the second is not set.
        Raises:
            ValueError: an engine that is neither podman nor docker.
        """
        engine = environ.get("RUNYARD_CONTAINER_ENGINE", "")
        if engine and engine != NONE and not os.path.basename(engine).startswith(KNOWN):
            raise ValueError(
                f"RUNYARD_CONTAINER_ENGINE is {engine!r}. Allowed: podman, docker, the path of one of them, or none."
            )
        named = environ.get("RUNYARD_CONTAINER_REGISTRY") or registry
        return ContainerSettings(
            engine, named.removeprefix("https://").strip("/"), environ.get("RUNYARD_CONTAINER_IMAGE", "")
        )


class EngineFailed(Exception):
    """A command of the engine ended with an error; ``output`` is what it wrote, secrets masked."""

    def __init__(self, command: str, output: str, exit_code: int) -> None:
        super().__init__(output or f"{command} ended with exit code {exit_code}")
        self.output = output
        self.exit_code = exit_code

    @property
    def last_line(self) -> str:
        lines = self.output.strip().splitlines()
        return (lines[-1] if lines else str(self)).strip().rstrip(".")


class ContainerEngine:
    """The engine's program. Safe to use from several threads.

    Args:
        setting: see ``ContainerSettings.engine``.
    """

    def __init__(self, setting: str = "") -> None:
        self._setting = setting
        self._lock = threading.Lock()
        self._path: str | None = None
        self._absence = ""
        self._ask_at = float("-inf")

    @property
    def absence(self) -> str:
        """Why there is no engine to be had, as the end of a sentence; "" where there is one."""
        with self._lock:
            if self._path is not None and os.access(self._path, os.X_OK):
                return ""
            if self._path is not None or time.monotonic() >= self._ask_at:
                self._path, self._absence = self._look()
                self._ask_at = time.monotonic() + _ASK_AGAIN_S
            return self._absence

    @property
    def path(self) -> str:
        """The program.

        Raises:
            EnvironmentException: there is none that answers.
        """
        why = self.absence
        if why or self._path is None:
            raise EnvironmentException(f"This server has no container engine: {why}.")
        return self._path

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    @property
    def is_docker(self) -> bool:
        return self.name.startswith("docker")

    def run(
        self,
        arguments: Sequence[str],
        log: Log | None = None,
        cancel: threading.Event | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> str:
        """Runs the engine to its end and gives what it wrote on standard output.

        Args:
            log: gets each line of standard error when it is written.
            cancel: ends the program when set; what it has started goes on.
        Raises:
            EngineFailed: it ended with an error.
            StorageFullError: the disk has no room.
            EnvironmentException: there is no engine, or ``cancel`` was set.
        """
        process = subprocess.Popen(
            [self.path, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, **orphans.mark(), **(variables or {})},
            start_new_session=True,
        )
        output, said, exit_code = run_to_end(process, log or (lambda _: None), cancel)
        if exit_code == 0:
            return output
        text = "\n".join([*said, masked(output)])
        if disk.is_full(text):
            raise StorageFullError(
                f"The disk has no room for the image of the environment. Free some ('{self.name} image prune' removes "
                f"images that nothing uses) and submit again. {self.name} said: {said[-1] if said else text[-300:]}"
            )
        raise EngineFailed(f"{self.name} {arguments[0]}", text, exit_code)

    def inspect(self, image: str) -> dict[str, Any] | None:
        """What the engine knows of an image on this host, None where it is not here."""
        try:
            found = json.loads(self.run(["image", "inspect", image]))
        except EngineFailed:
            return None
        return dict(found[0])

    def _look(self) -> tuple[str | None, str]:
        if self._setting == NONE:
            return None, "it was started with RUNYARD_CONTAINER_ENGINE=none"
        why = []
        for name in [self._setting] if self._setting else KNOWN:
            path = shutil.which(name)
            trouble = f"{name} is not on its PATH" if path is None else _does_not_answer(path)
            if not trouble:
                return path, ""
            why.append(trouble)
        return None, " and ".join(why)


def as_root(image: str, program: str, name: str = "", more: Sequence[str] = ()) -> list[str]:
    """The engine's arguments that run a program of an image as root of its container, without the image's own entry.

    Args:
        name: of the container, which then stays; without one it is removed when it ends.
    """
    words = ["run", "--network", "host", "--user", "0:0", "--workdir", "/", "--security-opt", "label=disable"]
    words += ["--name", name] if name else ["--rm"]
    return [*words, *more, "--entrypoint", program, image]


def _does_not_answer(path: str) -> str:
    """What is wrong with an engine; "" where it works."""
    try:
        asked = subprocess.run(
            [path, "info"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as fault:
        return f"{path} does not answer ({fault})"
    said = (asked.stderr.strip() or asked.stdout.strip()).splitlines()
    return "" if asked.returncode == 0 else f"{path} does not work ({said[-1][:300] if said else asked.returncode})"
