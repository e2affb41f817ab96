"""From conda specs to exact packages, and what of them pip sees as installed."""

import threading
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from runyard import package_date
from runyard.errors import EnvironmentException
from runyard.protocol.environments import CondaPackage
from runyard_server.environments import conda_cache, conda_causes, interpreters
from runyard_server.environments.conda_command import Conda, CondaFailed
from runyard_server.environments.programs import Log, masked
from runyard_server.environments.requirements import OLDEST_PYTHON, Wanted

_NEVER = "9999-01-01T00:00:00Z"


@dataclass(frozen=True)
class Solution:
    """What the conda solver came to.

    Attributes:
        python_version: of the Python among the packages; None where that is not conda's.
        projects: pip's name -> version of what the packages install for pip to see.
    """

    packages: tuple[CondaPackage, ...]
    python_version: str | None
    projects: dict[str, str]

    def options(self, folder: Path) -> list[str]:
        """Arguments for ``uv pip compile``, so that pip's packages are resolved given conda's.

        Each of conda's becomes a wheel in ``folder`` with nothing but its name and version: uv takes exactly that one,
        whether pip's registry has it or not, and it is no part of the outcome. What it needs is the solver's affair.
        """
        options = ["--python-version", self.python_version] if self.python_version else []
        if not self.projects:
            return options
        constraints = folder / "constraints.txt"
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in self.projects.items()))
        for name, version in self.projects.items():
            _write_wheel(folder, name, version)
            options += ["--no-emit-package", name, "--exclude-newer-package", f"{name}={_NEVER}"]
        return [*options, "--constraint", str(constraints), "--find-links", str(folder)]

    def told(self, output: str) -> str:
        """What conda installs of the projects that uv's words name, as a sentence; "" where it is none of them."""
        named = [f"{name} {version}" for name, version in self.projects.items() if f"{name}==" in output]
        if not named:
            return ""
        return (
            f" From conda come {', '.join(named)}. Ask for a version that fits both in conda_packages, or leave the "
            "package to one of the two."
        )


def python_of(packages: Sequence[CondaPackage]) -> CondaPackage | None:
    """The Python among the packages, on which the environment then runs."""
    return next((package for package in packages if package.name == "python"), None)


def solve(wanted: Wanted, conda: Conda, log: Log, cancel: threading.Event | None) -> Solution | None:
    """Exact packages for the conda specs of ``wanted``; None where it has none.

    Raises:
        EnvironmentException: they do not exist or do not fit together, or a channel cannot be reached.
        StorageFullError: the disk has no room.
    """
    if not wanted.conda:
        return None
    named = ", ".join(masked(each) for each in wanted.conda)
    log(f"Solving {named} with conda channels {', '.join(masked(each) for each in wanted.conda_channels)}")
    request = {
        "channels": list(wanted.conda_channels),
        "specs": list(wanted.conda),
        "constraints": [[*wanted.conda_beside, *_of_pip(wanted), python] for python in _pythons(wanted)],
        "cache": str(conda_cache.channels(conda.folder)),
        "as_of": wanted.asked_date,
    }
    packages = tuple(CondaPackage(**each) for each in _asked(request, wanted, conda, log, cancel)["packages"])
    python = python_of(packages)
    projects = _projects(packages, conda, log, cancel) if python and wanted.lines else {}
    return Solution(packages, python.version if python else None, projects)


def _asked(
    request: Mapping[str, Any], wanted: Wanted, conda: Conda, log: Log, cancel: threading.Event | None
) -> dict[str, Any]:
    """The solver's answer: from the channels, else from what is known of them, else with more patience."""
    try:
        try:
            return conda.run("solve", {**request, "offline": False, "patient": False}, log, cancel)
        except CondaFailed as failed:
            if failed.kind != "network":
                raise
        log("A conda channel cannot be reached; trying with what is known of it on this machine")
        try:
            return conda.run("solve", {**request, "offline": True, "patient": False}, log, cancel)
        except CondaFailed:
            log("That is not all that is needed; asking the channel again, with more patience")
        return conda.run("solve", {**request, "offline": False, "patient": True}, log, cancel)
    except CondaFailed as failed:
        said = conda_causes.of_solving(failed.answer, wanted.conda, wanted.conda_channels)
        lacking = ", ".join(f"'{spec}'" for spec in wanted.conda if spec in wanted.only_conda)
        before = f"pip's registry has no {lacking}. " if lacking else ""
        day = ""
        if wanted.asked_date:
            day = (
                f" Packages are taken as of {wanted.asked_date}, as packages_as_of of the environment (or "
                f"{package_date.VARIABLE}) says: a newer one does not count. Give a later day, or none."
            )
        raise EnvironmentException(before + said + day) from failed


def _pythons(wanted: Wanted) -> list[str]:
    """Constraints on Python, the first to be tried first; none where the specs say it exactly."""
    if wanted.pythons:
        return ["python " + "|".join(f"{version}.*" for version in wanted.pythons)]
    oldest = "python >=" + ".".join(str(part) for part in OLDEST_PYTHON)
    own = ".".join(interpreters.own_version().split(".")[:2])
    return [f"python {own}.*", oldest]


def _of_pip(wanted: Wanted) -> list[str]:
    """What pip's own lines say of versions holds for a package of that name that comes along from conda."""
    found = []
    for line in wanted.lines:
        if not any(sign in line for sign in ("@", ";", "/", "~=", "===", "[", "--")):
            asked = Requirement(line)
            if asked.specifier:
                found.append(f"{canonicalize_name(asked.name)} {asked.specifier}")
    return found


def _projects(
    packages: Sequence[CondaPackage], conda: Conda, log: Log, cancel: threading.Event | None
) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, version in conda.projects(packages, log, cancel):
        try:
            found[canonicalize_name(name)] = str(Version(version))
        except InvalidVersion:
            continue  # no requirement could name it
    return dict(sorted(found.items()))


def _write_wheel(folder: Path, name: str, version: str) -> None:
    stem = f"{name.replace('-', '_')}-{version}"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        info = f"{stem}.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
