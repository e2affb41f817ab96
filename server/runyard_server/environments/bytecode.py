"""Compiles the modules of an environment when it is built, so that its first ranks need not, all of them, each for itself.

Their files lie where the interpreter looks for them, and are no part of what the environment is verified by: the
interpreter makes anew what does not belong to its source.

What was compiled is kept beside the environments, package by package, for the next one that has the same modules: the
files of both are links to the same bytes. In the folder ``kept`` each package has one, named by what its RECORD says of
its modules and by the Python; there its files lie as below ``site-packages``.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from runyard_server.environments import listing, orphans
from runyard_server.environments.disk import JUST_USED_S
from runyard_server.environments.programs import Log, cores, run_to_end

_NEVER_IMPORTED = r"[/\\]tests[/\\]"  # up to half of a scientific package; one that is imported is compiled then
_MODULES_OF_A_JOB = 100  # fewer are compiled by the time that another process has started
_UNFINISHED = "."  # what the name of a folder begins with while it is filled


def compile_modules(python: Path, prefix: Path, kept: Path, log: Log, cancel: threading.Event | None) -> None:
    """Compiles all packages below ``prefix`` with its own interpreter, on all cores, but what is in ``kept`` already.

    A module that cannot be compiled stays as it is: packages carry some for other Pythons. Nor does anything else that
    goes wrong here end the build: what is not compiled now is compiled when it is imported.

    Raises:
        EnvironmentException: ``cancel`` was set.
    """
    folders = sorted(prefix.glob("lib/python*/site-packages"))
    if not folders:
        return  # without one it would compile the interpreter's own modules
    packages = [(folder, *package) for folder in folders for package in _packages(folder, prefix)]
    for folder, name, _ in packages:
        _link(kept / name, folder)
    count = sum(1 for folder in folders for _ in folder.rglob("*.py"))
    jobs = min(cores(), 1 + count // _MODULES_OF_A_JOB)
    arguments = ["-I", "-W", "ignore", "-m", "compileall", "-qq", "-j", str(jobs), "-x", _NEVER_IMPORTED]
    process = subprocess.Popen(
        [str(python), *arguments, *(str(folder) for folder in folders)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **orphans.mark()},
        start_new_session=True,
    )
    said = run_to_end(process, lambda _: None, cancel)[1]
    if said:
        log(f"Not all modules were compiled; that is done when they are imported. {said[-1]}")
    for folder, name, modules in packages:
        if not (kept / name).exists():
            _keep(folder, modules, kept, name)


def prune(kept: Path, dry_run: bool) -> int:
    """Removes what no environment has any more; the bytes that it took."""
    freed = 0
    for folder in sorted(kept.iterdir()) if kept.is_dir() else []:
        files = [path for path in folder.rglob("*") if path.is_file()]
        if any(path.stat().st_nlink > 1 for path in files) or time.time() - folder.stat().st_mtime < JUST_USED_S:
            continue
        freed += sum(path.stat().st_size for path in files)
        if not dry_run:
            shutil.rmtree(folder, ignore_errors=True)
    return freed


def _packages(site: Path, prefix: Path) -> Iterator[tuple[str, list[PurePosixPath]]]:
    """For each package whose files are those of its RECORD: the name of what is kept of it, and its modules."""
    for _, rows in listing.records(site, listing.of_conda(prefix)):
        of_modules = sorted(row for row in rows if row[0].endswith(".py") and row[1])
        modules = [PurePosixPath(row[0]) for row in of_modules]
        if modules and not any(path.is_absolute() or ".." in path.parts for path in modules):
            said = "\n".join([site.parent.name, *map(",".join, of_modules)])
            yield hashlib.sha256(said.encode()).hexdigest(), modules


def _link(kept: Path, site: Path) -> None:
    """Gives the modules in ``site`` what was compiled of them before; the compiler sees whether it belongs to them."""
    for folder, _, names in os.walk(kept):
        target = site / Path(folder).relative_to(kept)
        try:
            if names:
                target.mkdir(exist_ok=True)
            for name in names:
                os.link(os.path.join(folder, name), target / name)
        except OSError:
            return  # the package brought its own, or no link can be made: what is not there is compiled


def _keep(site: Path, modules: list[PurePosixPath], kept: Path, name: str) -> None:
    """Keeps what was compiled of a package's modules, as a whole or not at all."""
    try:
        kept.mkdir(mode=0o700, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=kept))
        try:
            stems: dict[PurePosixPath, set[str]] = {}
            for module in modules:
                stems.setdefault(module.parent / "__pycache__", set()).add(module.stem)
            for folder in sorted(folder for folder in stems if (site / folder).is_dir()):
                (unfinished / folder).mkdir(parents=True)
                for entry in os.scandir(site / folder):
                    if entry.name.partition(".")[0] in stems[folder]:
                        os.link(entry.path, unfinished / folder / entry.name)
            os.rename(unfinished, kept / name)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError:
        pass  # another build has kept the same, or nothing can be kept here: the next one compiles
