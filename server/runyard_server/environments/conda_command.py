"""Runs the conda solver, its output live to a log and without secrets, and keeps what it fetches."""

import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runyard.errors import EnvironmentException
from runyard.protocol.environments import CondaPackage
from runyard_server.environments import conda_cache, conda_causes, disk, orphans
from runyard_server.environments.conda_channels import CondaSettings
from runyard_server.environments.programs import Log, masked, run_to_end
from runyard_server.environments.uv_command import FOREIGN_VARIABLES

_WORKER = "runyard_server.environments.conda_worker"


class CondaFailed(Exception):
    """The solver answered that it could not; ``answer`` says why, secrets masked."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__(answer["message"])
        self.answer = answer
        self.kind = str(answer["failed"])


class Conda:
    """The conda solver of this server. Safe to use from several threads.

    Args:
        root: folder of the environments; what is fetched lies in ``<root>/conda``, on the same disk, since files of
            environments are hard links to it.
    """

    def __init__(self, root: Path, settings: CondaSettings) -> None:
        self.settings = settings
        self.folder = root / "conda"

    @property
    def usable(self) -> CondaSettings | None:
        """The settings where there is a solver; None where there is none, or none is wanted."""
        return self.settings if self.absence is None else None

    @property
    def absence(self) -> str | None:
        """Why no solver is asked, and what to do about it; None where there is one."""
        if self.settings.solver == "never":
            return "is switched off on this server (RUNYARD_CONDA=never)"
        if importlib.util.find_spec("rattler") is None:
            command = f"{sys.executable} -m pip install 'runyard-server[conda]'"
            return f"is not installed on this server (whoever runs it adds it with: {command})"
        return None

    def run(self, do: str, request: Mapping[str, Any], log: Log, cancel: threading.Event | None) -> dict[str, Any]:
        """The solver's answer to one request.

        Raises:
            CondaFailed: it says why.
            StorageFullError: the disk has no room.
            EnvironmentException: there is no solver, it broke down, or ``cancel`` was set.
        """
        if self.absence is not None:
            raise EnvironmentException(f"The environment has conda packages, and the conda solver {self.absence}.")
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Its folder is not the server's, so that no file there is taken for a module of the solver's.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd=self.folder,
            env=self._environment(),
            start_new_session=True,
        )
        entry = json.dumps({**request, "do": do, "alias": self.settings.alias})
        output, said, exit_code = run_to_end(process, log, cancel, entry)
        if exit_code != 0:
            raise EnvironmentException(
                f"The conda solver broke down (exit code {exit_code}) at '{do}'. It said:\n" + "\n".join(said)[-2000:]
            )
        answer: dict[str, Any] = json.loads(output)
        if "failed" in answer:
            failed = CondaFailed(json.loads(masked(output)))
            if failed.kind == "disk":
                raise disk.full(f"The conda solver said: {failed}") from failed
            raise failed
        return answer

    def install(self, packages: Sequence[CondaPackage], prefix: Path, log: Log, cancel: threading.Event | None) -> None:
        """The packages in ``prefix``, beside what it holds already; those that are not here are fetched.

        Every file is what its package records, and every package has the digest of the lock.

        Raises:
            EnvironmentException: a channel cannot be reached or gave other bytes, or a package is damaged.
            StorageFullError: the disk has no room.
        """
        request = {"prefix": str(prefix), "cache": str(conda_cache.unpacked(self.folder))}
        self._with_packages("install", packages, request, log, cancel)
        for package in packages:
            log(f" + {package.name}={package.version}={package.build} (conda)")

    def projects(
        self, packages: Sequence[CondaPackage], log: Log, cancel: threading.Event | None
    ) -> list[tuple[str, str]]:
        """Name and version of what the packages install for pip to see. Only in them is it written: they are fetched.

        Raises:
            EnvironmentException, StorageFullError: as ``install``.
        """
        answer = self._with_packages("projects", packages, {}, log, cancel)
        return [(name, version) for name, version in answer["projects"]]

    def prune(self, in_use: Collection[str], unused_for_s: float, dry_run: bool) -> int:
        """Removes fetched packages that no built environment has; the bytes that this gives back."""
        return conda_cache.prune(self.folder, in_use, unused_for_s, dry_run)

    def _with_packages(
        self,
        do: str,
        packages: Sequence[CondaPackage],
        request: Mapping[str, Any],
        log: Log,
        cancel: threading.Event | None,
    ) -> dict[str, Any]:
        wanted = [{**asdict(each), "target": str(conda_cache.archive(self.folder, each))} for each in packages]
        try:
            return self.run(do, {**request, "packages": wanted}, log, cancel)
        except CondaFailed as failed:
            raise EnvironmentException(conda_causes.of_packages(failed.answer)) from failed

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in FOREIGN_VARIABLES}
        path = os.pathsep.join(part for part in sys.path if part)  # the server may have come by PYTHONPATH itself
        return {**kept, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", **orphans.mark()}
