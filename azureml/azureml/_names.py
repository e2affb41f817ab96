"""How the modules of this package name what they re-export: one table each, loaded when first used.

What Azure's package has and this one has not is answered with one error, from the table in ``runyard.absent``.
"""

import importlib
import importlib.abc
import sys
from typing import Any, Callable, Dict, List

from azureml._beside import refuse_microsofts_packages

# Here and not in __init__: theirs may have taken that one's place, but every module of ours comes by here.
refuse_microsofts_packages()

from runyard import absent  # noqa: E402


def reexport(module: str, names: Dict[str, str]) -> Callable[[str], Any]:
    """A module's ``__getattr__``: gives ``names`` (name to the module that has it) and submodules.

    Any other name raises ImportError, which ``from ... import`` passes on as it is.
    """

    def load(name: str) -> Any:
        if name in names:
            source, _, other = names[name].partition(":")
            value = getattr(importlib.import_module(source), other or name)
            setattr(importlib.import_module(module), name, value)
            return value
        if name.startswith("_"):
            raise AttributeError("module {!r} has no attribute {!r}".format(module, name))
        try:
            return importlib.import_module(module + "." + name)
        except ModuleNotFoundError as missing:
            if missing.name not in (module + "." + name, module):
                raise
        raise ImportError(absent.message(module + "." + name, listed(names)), name=module)

    return load


def listed(names: Dict[str, str]) -> List[str]:
    """The public names, in order."""
    return sorted(name for name in names if not name.startswith("_"))


class _Absent(importlib.abc.MetaPathFinder):
    """Asked last, for modules below ``azureml`` that nobody has found."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname.startswith("azureml.") and not fullname.rsplit(".", 1)[-1].startswith("_"):
            raise ModuleNotFoundError(absent.message(fullname), name=fullname)


def answer_for_absent_modules() -> None:
    """From now on ``import azureml.X`` of what is not there says why, and what to use."""
    if not any(isinstance(finder, _Absent) for finder in sys.meta_path):
        sys.meta_path.append(_Absent())
