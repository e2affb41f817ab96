"""How the modules of this package name what they re-export: one table each, loaded when first used."""

import importlib
from typing import Any, Callable, Dict, List


def reexport(module: str, names: Dict[str, str]) -> Callable[[str], Any]:
    """A module's ``__getattr__``: gives ``names`` (name to the module that has it) and submodules.

    A name of Azure's that is not here raises ImportError, which ``from ... import`` passes on as it
    is; the message says that it is not there yet.
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
        there = "; {} has {}".format(module, ", ".join(listed(names))) if listed(names) else ""
        raise ImportError(
            "{}.{} is not there yet: runyard answers a part of Azure ML SDK v1{}.".format(module, name, there),
            name=module,
        )

    return load


def listed(names: Dict[str, str]) -> List[str]:
    """The public names, in order."""
    return sorted(name for name in names if not name.startswith("_"))
