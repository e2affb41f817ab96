"""From what is wanted to a lock: exact pins with hashes, made by ``uv pip compile``."""

import hashlib
import json
import re
import sysconfig
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from packaging.utils import canonicalize_name

from runyard import package_date
from runyard.errors import EnvironmentException
from runyard.protocol.codec import to_json
from runyard.protocol.environments import BaseImage, CompiledPackage, EnvironmentLock
from runyard_server.environments import causes, conda_cache, horovod, orphans
from runyard_server.environments.conda_solve import Solution
from runyard_server.environments.interpreters import Interpreter, matches
from runyard_server.environments.programs import Log, masked
from runyard_server.environments.requirements import Wanted
from runyard_server.environments.uv_command import Uv, UvFailed, patience

_NEVER = "9999-01-01T00:00:00Z"
FORMAT = "1"  # grows when the same lock would be built into something else
_NOT_FOUND = re.compile(
    r"([A-Za-z0-9][\w.\-]*) was not found in (?:the package registry|the provided package locations|the cache)"
)
_NO_VERSION = re.compile(
    r"there (?:is|are) no versions? of ([A-Za-z0-9][\w.\-\[\],]*?)((?:[=<>!~][^ ]*)?)(?: and|,| are|$)"
)
_NONE_FITS = re.compile(r"[Bb]ecause only .*? (?:is|are) available and you require ([A-Za-z0-9][\w.\-]*)[=<>!~]")
_PIN = re.compile(r"^([A-Za-z0-9][\w.\-]*)==(\S+)", re.MULTILINE)


class LackedByPip(EnvironmentException):
    """pip's registry lacks a conda package, or the version of it: a conda channel may have it."""

    def __init__(self, message: str, conda_spec: str) -> None:
        super().__init__(message)
        self.conda_spec = conda_spec


def resolve(
    wanted: Wanted,
    interpreter: Interpreter,
    uv: Uv,
    log: Log,
    cancel: threading.Event | None,
    conda: Solution | None = None,
    image: BaseImage | None = None,
) -> EnvironmentLock:
    """The lock of what is wanted, on this platform and this Python.

    Args:
        interpreter: of an image its version alone counts.
        conda: what the conda solver has chosen already; pip's packages are those that go with it.
        image: the container image that it is for.
    Raises:
        LackedByPip: a conda package that may be asked of conda instead.
        EnvironmentException: packages that do not exist or do not fit together; names them.
        StorageFullError: the disk has no room.
    """
    python_version = conda.python_version if conda and conda.python_version else _python_of_lock(wanted, interpreter)
    if not wanted.lines:
        return lock_of("", python_version, wanted, conda=conda, image=image)
    orphans.end()
    text = _compiled(wanted.lines, wanted, interpreter, uv, log, cancel, conda)
    notes = list(wanted.notes)
    plain = without_doubled_tensorflow(wanted.lines, text)
    if plain is not None:
        notes.append(
            "tensorflow instead of tensorflow-cpu: another package needs it, and both would fill the same folder"
        )
        text = _compiled(plain, wanted, interpreter, uv, log, cancel, conda)
    compiled: list[CompiledPackage] = []
    warnings = list(wanted.warnings)
    if wanted.horovod is not None:
        choice = horovod.choose(
            wanted.horovod, _pins(text), conda.python_version if conda and conda.python_version else interpreter.version
        )
        for said in [*choice.notes, *(f"WARNING: {warning}" for warning in choice.warnings)]:
            log(said)
        notes += choice.notes
        warnings += choice.warnings
        if choice.recipe is not None:
            # Tools that come to nothing of what is installed: no framework's date is theirs.
            undated = replace(wanted, exclude_newer=None)
            compiled.append(
                choice.package(_compiled(list(choice.recipe.tools), undated, interpreter, uv, log, cancel, None))
            )
    return lock_of(text, python_version, wanted, notes, compiled, warnings, conda, image)


def lock_of(
    requirements: str,
    python_version: str,
    wanted: Wanted,
    notes: Sequence[str] | None = None,
    compiled: Sequence[CompiledPackage] = (),
    warnings: Sequence[str] = (),
    conda: Solution | None = None,
    image: BaseImage | None = None,
) -> EnvironmentLock:
    """A lock with its key: the digest of the pins, of what is compiled and what is conda's, Python, platform, image."""
    packages = list(conda.packages) if conda else []
    of_conda = [f"{each.file_name} {conda_cache.digest(each)}" for each in packages]
    text = "\n".join([FORMAT, sysconfig.get_platform(), python_version, requirements, *of_conda])
    if compiled:
        text += json.dumps(to_json(list(compiled)), sort_keys=True)
    if image:
        text += json.dumps(["image", image.id, image.interpreter])
    return EnvironmentLock(
        key=hashlib.sha256(text.encode("utf-8")).hexdigest()[:40],
        python_version=python_version,
        requirements=requirements,
        exclude_newer=wanted.exclude_newer,
        notes=list(wanted.notes if notes is None else notes),
        options=wanted.options,
        compiled=list(compiled),
        warnings=list(warnings),
        conda=packages,
        image=image,
    )


def _pins(lock: str) -> dict[str, str]:
    return {canonicalize_name(name): version for name, version in _PIN.findall(lock)}


def _python_of_lock(wanted: Wanted, interpreter: Interpreter) -> str:
    """The patch only where it was asked for: hosts with another patch can then share the lock."""
    asked = [version for version in wanted.pythons if version.count(".") == 2]
    if any(matches(interpreter.version, version) for version in asked):
        return interpreter.version
    return ".".join(interpreter.version.split(".")[:2])


def _compiled(
    lines: list[str],
    wanted: Wanted,
    interpreter: Interpreter,
    uv: Uv,
    log: Log,
    cancel: threading.Event | None,
    conda: Solution | None,
) -> str:
    with orphans.temporary_folder() as directory:
        source = Path(directory) / "requirements.in"
        source.write_text("\n".join(lines) + "\n", encoding="utf-8")
        arguments = ["pip", "compile", str(source), "--python", str(interpreter.path), "--generate-hashes"]
        if interpreter.is_elsewhere:
            arguments += ["--python-version", interpreter.version]
        arguments += ["--no-header", "--no-annotate", *wanted.options]
        if wanted.exclude_newer:
            # a plain date would be read in the local time zone
            arguments += ["--exclude-newer", f"{wanted.exclude_newer}T00:00:00Z"]
            for name in wanted.undated:
                arguments += ["--exclude-newer-package", f"{name}={_NEVER}"]
        arguments += conda.options(Path(directory)) if conda else []
        python_version = conda.python_version if conda and conda.python_version else interpreter.version
        log(f"Resolving {', '.join(masked(line) for line in lines)} for Python {python_version}")
        try:
            return uv.run(arguments, log, cancel=cancel)
        except UvFailed as error:
            if not error.is_network:
                raise _explained(error, wanted, python_version, conda) from error
            log("The package registry cannot be reached; trying with what is cached on this machine")
            try:
                return uv.run([*arguments, "--offline"], log, cancel=cancel)
            except UvFailed:
                log("Not all is cached; asking the package registry again, with more patience")
        try:
            return uv.run(arguments, log, variables=patience(), cancel=cancel)
        except UvFailed as error:
            if not error.is_network:
                raise _explained(error, wanted, python_version, conda) from error
            raise EnvironmentException(
                f"{causes.of_network(error)}, and the packages are not all cached on this machine. "
                "Check the network, or name your registry in UV_DEFAULT_INDEX or a pip option (--index-url), and "
                f"submit again. uv said: {causes.first_cause(error.output)}"
            ) from error


def without_doubled_tensorflow(lines: list[str], lock: str) -> list[str] | None:
    if not {"tensorflow", "tensorflow-cpu"} <= _pins(lock).keys() or not any(
        line.startswith("tensorflow-cpu") for line in lines
    ):
        return None
    return [
        line.replace("tensorflow-cpu", "tensorflow", 1) if line.startswith("tensorflow-cpu") else line for line in lines
    ]


def _explained(
    error: UvFailed, wanted: Wanted, python_version: str, conda: Solution | None = None
) -> EnvironmentException:
    """uv's words as one message that names the package and the cure."""
    output = error.output
    as_of = ""
    if wanted.date_was_asked:
        as_of = (
            f" Packages are taken as of {wanted.exclude_newer}, as packages_as_of of the environment (or "
            f"{package_date.VARIABLE}) says: a newer one does not count. Give a later day, or none."
        )
    elif wanted.exclude_newer:
        as_of = (
            f" {wanted.framework} takes packages as of {wanted.exclude_newer}: a newer one does not count. Leave "
            "framework_version out and name your packages in pip_packages to resolve them as of today."
        )
    said = causes.of_index(error) or causes.yanked(output)
    if said:
        return EnvironmentException(said + as_of)
    flat = " ".join(output.split())
    missing = _NOT_FOUND.search(flat)
    for lacked in (missing, _NONE_FITS.search(flat), _NO_VERSION.search(flat)):
        spec = wanted.conda_names.get(canonicalize_name(lacked[1])) if lacked else None
        if spec and wanted.may_turn_to_conda:
            return LackedByPip(f"pip's registry has no '{spec}'.", spec)
    if missing:
        return EnvironmentException(_missing(missing[1], wanted) + as_of)
    version = _NO_VERSION.search(flat)
    if version and version[2]:
        return EnvironmentException(
            f"The package '{version[1]}' has no version '{version[2]}' for Python {python_version} on this "
            f"platform. Ask for one that exists, or leave the version out.{as_of}"
        )
    if "Failed to build" in output or "build backend" in output:
        return EnvironmentException(
            f"A package has no ready wheel for Python {python_version} here and could not be built from its "
            f"source: {causes.first_cause(output)}{as_of} uv said:\n{output[-2000:]}"
        )
    return EnvironmentException(
        f"The packages cannot be installed together on Python {python_version}: {causes.first_cause(output)}{as_of}"
        + (conda.told(output) if conda else "")
    )


def _missing(name: str, wanted: Wanted) -> str:
    conda_spec = wanted.conda_names.get(canonicalize_name(name))
    if conda_spec:
        return (
            f"The conda package '{conda_spec}' is not in pip's registry, and the conda solver {wanted.no_solver}. "
            "If it has another name there, put that into pip_packages; else run with user_managed_dependencies=True on "
            "an interpreter that has it."
        )
    where = "The package registry"
    return (
        f"{where} has no package '{name}'. Check its spelling; a private package needs its registry or folder as a "
        "pip option (--extra-index-url, --find-links)."
    )
