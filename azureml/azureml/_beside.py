"""Microsoft's packages have the same import names: this one refuses to work beside them.

Both write into one folder ``azureml/``; whichever was installed last overwrote the other's files, and
what is imported then is a mixture. A script's job is excepted: there this package stands alone in a
folder of its own, in front of whatever the interpreter has.

Where theirs came last, ``azureml.core`` is Microsoft's, and imports nothing of ours but its plugins:
``_overwritten.py`` is one, by an entry point.
"""

import os
import sys
from typing import Iterable, List

_IN_A_JOB = "RUNYARD_RUN_SPOOL"


class Overwritten(BaseException):
    """Microsoft's packages are used where ours are installed too. No Exception: who loads plugins passes those over."""


def refuse_microsofts_packages() -> None:
    """Raises ImportError, with the cure, where a package that owns a folder ``azureml`` can be imported."""
    if _IN_A_JOB in os.environ:
        return
    found = owners(sys.path)
    if found:
        raise ImportError(_cure(found), name="azureml")


def refuse_to_be_a_plugin() -> None:
    """Raises Overwritten, with the cure: whoever loads plugins of ``azureml.core`` is Microsoft's."""
    raise Overwritten(_cure(owners(sys.path) or ["azureml-core"]))


def _cure(found: List[str]) -> str:
    return (
        "runyard-azureml cannot be used beside Microsoft's {0}: both are the package 'azureml'. Remove theirs and put "
        "ours back:\n    {1} -m pip uninstall -y {2}\n    {1} -m pip install --force-reinstall --no-deps "
        "runyard-azureml".format(", ".join(found), os.path.basename(sys.executable) or "python", " ".join(found))
    )


def owners(paths: Iterable[str]) -> List[str]:
    """Names of the distributions below ``paths`` that are called azureml-something and have a folder ``azureml``."""
    found = set()
    for path in paths:
        try:
            names = os.listdir(path or os.curdir)
        except OSError:
            continue  # a zip file, or a folder that is gone
        for name in names:
            lower = name.lower()
            if lower.startswith("azureml") and lower.endswith((".dist-info", ".egg-info")):
                if _has_folder(os.path.join(path, name)):
                    found.add(lower.split("-")[0].replace("_", "-"))
    return sorted(found)


def _has_folder(metadata: str) -> bool:
    if "azureml" in _lines(os.path.join(metadata, "top_level.txt")):
        return True
    return any(line.startswith("azureml/") for line in _lines(os.path.join(metadata, "RECORD")))


def _lines(path: str) -> List[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read().splitlines()
    except OSError:
        return []
