"""Compiles the modules of an environment when it is built, so that its first ranks need not, all of them, each for itself.

Their files lie where the interpreter looks for them, and are no part of what the environment is verified by: the
interpreter makes anew what does not belong to its source.
"""

import os
import subprocess
import threading
from pathlib import Path

from runyard_server.environments import orphans
from runyard_server.environments.programs import Log, cores, run_to_end

_NEVER_IMPORTED = r"[/\\]tests[/\\]"  # up to half of a scientific package; one that is imported is compiled then
_MODULES_OF_A_JOB = 100  # fewer are compiled by the time that another process has started


def compile_modules(python: Path, prefix: Path, log: Log, cancel: threading.Event | None) -> None:
    """Compiles all packages below ``prefix`` with its own interpreter, on all cores.

    A module that cannot be compiled stays as it is: packages carry some for other Pythons. Nor does anything else that
    goes wrong here end the build: what is not compiled now is compiled when it is imported.

    Raises:
        EnvironmentException: ``cancel`` was set.
    """
    folders = sorted(prefix.glob("lib/python*/site-packages"))
    if not folders:
        return  # without one it would compile the interpreter's own modules
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
