"""Writes docs/reference/sdk.md from the docstrings of ``runyard``'s public names; a test keeps the page true.

``python tools/reference.py`` prints the page, ``--write`` puts it in its place.
"""

import inspect
import sys
from pathlib import Path

import runyard

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "sdk.md"
HEAD = """# The Python interface

What `from runyard import ...` offers, from the docstrings (`make reference` writes this page). Names and meanings are
Azure ML SDK v1's where it has them; the docstrings say more, with arguments and errors.
"""


def first_sentence(thing: object) -> str:
    """The first paragraph of a docstring, on one line; "" where there is none."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def signature(function: object) -> str:
    """Names and defaults of a function's parameters, without ``self``, types and what begins with ``_``."""
    shown = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in ("self", "cls") or parameter.name.startswith("_"):
            continue
        name = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "") + parameter.name
        shown.append(name if parameter.default is parameter.empty else f"{name}={parameter.default!r}")
    return f"({', '.join(shown)})"


def members(cls: type) -> list[tuple[str, str]]:
    """(how it is written, what it is for) of a class's public methods and properties, by name; inherited ones too."""
    found = []
    for name, kind, owner, _ in inspect.classify_class_attrs(cls):
        if name.startswith("_") or not owner.__module__.startswith("runyard"):
            continue
        if not hasattr(cls, name):  # a member of Azure's that ours has not: see runyard.absent
            continue
        thing = inspect.getattr_static(cls, name)
        if kind == "property":
            found.append((name, first_sentence(thing)))
        elif kind in ("method", "class method", "static method"):
            found.append((name + signature(getattr(cls, name)), first_sentence(getattr(cls, name))))
    return found


def section(name: str) -> str:
    """The part of the page about one public name."""
    thing = getattr(runyard, name)
    if inspect.isfunction(thing):
        return f"## `{name}`\n\n`{name}{signature(thing)}`\n\n{first_sentence(thing)}\n"
    if not inspect.isclass(thing):
        return f"## `{name}`\n\nText: {thing!r} in this version.\n"
    if issubclass(thing, Exception):
        return f"## `{name}`\n\nError code `{thing.code}`: see [error codes](errors.md).\n"
    lines = [f"## `{name}`", "", f"`{name}{signature(thing.__init__)}`", "", first_sentence(thing), ""]
    lines += [f"- `{written}`" + (f": {purpose}" if purpose else "") for written, purpose in members(thing)]
    return "\n".join(lines) + "\n"


def page() -> str:
    return "\n".join([HEAD, *(section(name) for name in sorted(runyard.__all__))]).rstrip("\n") + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(page())
    else:
        print(page(), end="")
