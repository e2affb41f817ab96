"""What a conda environment sets for the programs that run in it: what ``conda activate`` would."""

import glob
import json
import os
import shutil
import subprocess
import sys
from typing import Callable, Dict, List

_TIMEOUT_S = 60.0
_OF_THE_SHELL = ("_", "SHLVL", "PWD", "OLDPWD")
_SOURCE = '{ for script in "$@"; do . "$script"; done; } >&2; exec "$RUNYARD_TELLER" -I -S -c "$RUNYARD_TELLS"'
_TELL = r"import os; os.write(1, b'\0'.join(k + b'=' + v for k, v in os.environb.items()))"


def activated(python: str, log: Callable[[str], None]) -> Dict[str, str]:
    """The variables that the environment of this interpreter sets; none where conda has no part in it.

    Packages bring scripts (``etc/conda/activate.d``) that set what they need. They run once per node. One that fails is
    named in ``log``, and what it would have set is missing; conda goes on then too.
    """
    prefix = os.path.dirname(os.path.dirname(python))
    if not os.path.isdir(os.path.join(prefix, "conda-meta")):
        return {}
    found = {"CONDA_PREFIX": prefix, "CONDA_DEFAULT_ENV": prefix, "CONDA_SHLVL": "1"}
    for path in _files(prefix, "env_vars.d", "json"):
        try:
            with open(path, encoding="utf-8") as source:
                found.update({str(name): str(value) for name, value in json.load(source).items()})
        except (OSError, ValueError, AttributeError) as fault:
            log("{} of the conda environment cannot be read as variables: {}.".format(os.path.basename(path), fault))
    scripts = _files(prefix, "activate.d", "sh")
    if scripts:
        found["PATH"] = os.path.join(prefix, "bin") + os.pathsep + os.environ.get("PATH", os.defpath)
        found.update(_set_by(scripts, dict(os.environ, **found), log))
    return found


def _files(prefix: str, folder: str, suffix: str) -> List[str]:
    return sorted(glob.glob(os.path.join(glob.escape(prefix), "etc", "conda", folder, "*." + suffix)))


def _set_by(scripts: List[str], environment: Dict[str, str], log: Callable[[str], None]) -> Dict[str, str]:
    """Variables that differ after the scripts were sourced, one after the other, in one shell."""
    shell = shutil.which("bash") or "/bin/sh"
    given = dict(environment, RUNYARD_TELLER=sys.executable, RUNYARD_TELLS=_TELL)
    try:
        done = subprocess.run(
            [shell, "-c", _SOURCE, shell] + scripts,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=given,
            timeout=_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as fault:
        log("The activation scripts of the conda environment did not end well: {}.".format(fault))
        return {}
    said = done.stderr.decode("utf-8", "replace").strip()
    if said:
        log("The activation scripts of the conda environment said: {}".format(said[-2000:]))
    if done.returncode != 0 or not done.stdout:
        names = ", ".join(os.path.basename(script) for script in scripts)
        log("The activation scripts of the conda environment ({}) failed: what they set is missing.".format(names))
        return {}
    pairs = (os.fsdecode(pair).partition("=") for pair in done.stdout.split(b"\0"))
    return {
        name: value
        for name, _, value in pairs
        if environment.get(name) != value and name not in _OF_THE_SHELL and not name.startswith("RUNYARD_TELL")
    }
