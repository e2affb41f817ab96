"""Compiles a package of a lock in a temporary environment that has the lock's own packages and what only compiling needs."""

import os
import re
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path

from runyard.errors import EnvironmentException
from runyard.protocol.environments import CompiledPackage, EnvironmentLock
from runyard_server.environments import disk, drive_setup, horovod, orphans
from runyard_server.environments.interpreters import Interpreter
from runyard_server.environments.programs import Log, cores, run_to_end
from runyard_server.environments.uv_command import Uv, UvFailed, patience

_BYTES_OF_A_COMPILER = 1_500_000_000  # what one takes at most with TensorFlow's headers
_ERROR = re.compile(r"\b(?:fatal )?error: |undefined reference|cannot find -l|^\w*Error: |^CMake Error")
# Settings of whatever the server itself runs in must not lead a compilation astray.
_FOREIGN = re.compile(r"HOROVOD_|CMAKE_|PYTHON|VIRTUAL_ENV$|CONDA_PREFIX$|(C|CXX|CPP|LD|MAKE)FLAGS$")
_WAY_OUT = "A run that needs no Horovod gets none when it names tensorflow as a pip package, without a framework."

# uv fetches, verifies and unpacks a source, but only to build it. What it calls for that is this: it takes the source.
_TAKER = """\
import os, shutil

class _Taker:
    def build_wheel(self, *_, **__):
        shutil.copytree(os.getcwd(), os.environ["RUNYARD_SOURCE"])
        raise SystemExit("the source was taken")

    prepare_metadata_for_build_wheel = get_requires_for_build_wheel = build_wheel

__legacy__ = _Taker()
"""


def check_compiler() -> str:
    """The C++ compiler of this host.

    Raises:
        EnvironmentException: there is none; says how to get one.
    """
    asked = os.environ.get("CXX") or "g++"
    found = shutil.which(asked)
    if found is None:
        raise EnvironmentException(
            f"Horovod has to be compiled, and the server's machine has no C++ compiler ({asked}). Install one there "
            "('apt install g++', 'dnf install gcc-c++'; no other machine needs it) or name it in CXX, and submit again. "
            f"{_WAY_OUT}"
        )
    return found


def compile_package(
    package: CompiledPackage,
    lock: EnvironmentLock,
    interpreter: Interpreter,
    uv: Uv,
    work: Path,
    log: Log,
    cancel: threading.Event | None,
) -> Path:
    """The wheel of ``package`` for the environment of ``lock``, made in the empty folder ``work``; takes minutes.

    Raises:
        EnvironmentException: it cannot be compiled; names the first error, and what to do.
        StorageFullError: the disk has no room.
        UvFailed: the packages or the source cannot be had.
    """
    recipe = horovod.recipe_named(package.recipe)
    compiler = check_compiler()
    prefix, source, wheels = work / "environment", work / "source", work / "wheels"
    log(f"Compiling {package.name} {package.version} against {', '.join(package.against)}, once for all that need it")
    uv.run(["venv", "--no-project", "--quiet", "--python", str(interpreter.path), str(prefix)], log, cancel=cancel)
    for name, pins in (("lock.txt", lock.requirements), ("tools.txt", package.tools)):
        if pins.strip():
            (work / name).write_text(pins, encoding="utf-8")
            _install(["--require-hashes", "-r", str(work / name)], lock, prefix, uv, cancel)
    _take_source(package, lock, prefix, work, source, uv, cancel)
    _change(source, recipe)
    headers = work / "headers"
    headers.mkdir()
    for name in recipe.empty_headers:
        (headers / name).parent.mkdir(parents=True, exist_ok=True)
        (headers / name).touch()
    wheels.mkdir()
    jobs = _jobs()
    command = [str(prefix / "bin" / "python"), str(Path(drive_setup.__file__)), str(wheels), str(jobs)]
    variables = {name: text.replace("{headers}", str(headers)) for name, text in recipe.variables.items()}
    variables |= {"CC": compiler, "CXX": compiler, "CMAKE_BUILD_PARALLEL_LEVEL": str(jobs), "TMPDIR": str(work)}
    variables["PATH"] = f"{prefix / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    said = _run(command, source, variables, log, cancel)
    made = sorted(wheels.glob("*.whl"))
    if len(made) != 1:
        raise EnvironmentException(_failure(package, compiler, said))
    _check_relocatable(made[0], recipe)
    return made[0]


def _install(arguments: list[str], lock: EnvironmentLock, prefix: Path, uv: Uv, cancel: threading.Event | None) -> None:
    """Installs into the temporary environment, from the package cache if all is there; says nothing."""
    command = ["pip", "install", "--python", str(prefix / "bin" / "python"), "--no-deps", *arguments, *lock.options]
    try:
        uv.run([*command, "--offline"], _silent, cancel=cancel)
    except UvFailed:
        uv.run(command, _silent, variables=patience(), cancel=cancel)


def _take_source(
    package: CompiledPackage,
    lock: EnvironmentLock,
    prefix: Path,
    work: Path,
    source: Path,
    uv: Uv,
    cancel: threading.Event | None,
) -> None:
    taker = work / "taker" / "setuptools"
    taker.mkdir(parents=True)
    (taker / "__init__.py").touch()
    (taker / "build_meta.py").write_text(_TAKER, encoding="utf-8")
    line = work / "source.txt"
    line.write_text(f"{package.name}=={package.version} --hash=sha256:{package.source_sha256}\n", encoding="utf-8")
    command = ["pip", "install", "--python", str(prefix / "bin" / "python"), "--no-deps", "--require-hashes"]
    command += ["--no-build-isolation", "--no-binary", package.name, "--reinstall-package", package.name]
    variables = {"PYTHONPATH": str(taker.parent), "RUNYARD_SOURCE": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        uv.run([*command, "-r", str(line), *lock.options], _silent, {**patience(), **variables}, cancel)
    except UvFailed:
        if not (source / "setup.py").is_file():
            raise
    else:
        raise EnvironmentException(f"uv did not fetch the source of {package.name} {package.version}.")


def _change(source: Path, recipe: horovod.Recipe) -> None:
    for edit in recipe.edits:
        path = source / edit.path
        text = path.read_text(encoding="utf-8")
        if text.count(edit.anchor) != 1:
            raise EnvironmentException(f"The recipe {recipe.name} does not fit the source: {edit.path} is another one.")
        path.write_text(text.replace(edit.anchor, edit.new + edit.anchor), encoding="utf-8")


def _jobs() -> int:
    """As many compilers as there are cores, and memory for them."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        found = None  # a system that does not tell
    return max(1, min(cores(), int(found[1]) * 1024 // _BYTES_OF_A_COMPILER)) if found else cores()


def _check_relocatable(wheel: Path, recipe: horovod.Recipe) -> None:
    """A library that looks for MPICH in the temporary environment alone works until that is removed."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith(".so") and horovod.RPATH.encode() not in archive.read(name):
                raise EnvironmentException(
                    f"The recipe {recipe.name} made a library that finds no MPI where it is installed ({name}). "
                    "Its LDFLAGS did not reach the linker as they stand."
                )


def _run(
    command: list[str], source: Path, variables: Mapping[str, str], log: Log, cancel: threading.Event | None
) -> list[str]:
    """What the program says, line by line as it says it. Its exit code is not asked: a wheel is there, or is not."""
    environment = {name: value for name, value in os.environ.items() if not _FOREIGN.match(name)}
    environment.update({**orphans.mark(), **variables, "PYTHONUNBUFFERED": "1", "PYTHONNOUSERSITE": "1"})
    process = subprocess.Popen(
        command,
        cwd=source,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    return run_to_end(process, log, cancel)[1]


def _failure(package: CompiledPackage, compiler: str, said: list[str]) -> str:
    text = "\n".join(said)
    if disk.is_full(text):
        raise disk.full(wanted=f"to compile {package.name} (some 3 GB)")
    first = next(
        (line.strip() for line in said if _ERROR.search(line)), said[-1].strip() if said else "it said nothing"
    )
    return (
        f"{package.name} {package.version} could not be compiled against {', '.join(package.against)} with {compiler}: "
        f"{first}\nTry another compiler (CXX names it; GCC 10 to 12 are known to work), or another framework_version. "
        f"{_WAY_OUT} The whole output is in the run's build log. Its end:\n{text[-1500:]}"
    )


def _silent(_: str) -> None:
    """For output that nobody needs."""
