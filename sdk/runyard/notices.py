"""What a person is told once per process, on stderr: that something they wrote is accepted and has no effect."""

import sys
from typing import Any, Mapping, Set

_said: Set[str] = set()


def say_once(text: str) -> None:
    """Writes ``runyard: <text>`` to stderr, unless this process has said it before."""
    if text not in _said:
        _said.add(text)
        sys.stderr.write("runyard: {}\n".format(text))


def not_used(where: str, given: Mapping[str, Any], why: str) -> None:
    """Says once that the arguments of ``where`` which are not None have no effect, and why that is.

    Names that begin with ``_`` are Azure's own, which nobody writes.
    """
    names = sorted(name for name, value in given.items() if value is not None and not name.startswith("_"))
    if names:
        say_once("{}: {} accepted and not used: {}".format(where, " and ".join(names), why))


def unless(usual: Any, value: Any) -> Any:
    """None where a value is the usual one: nobody has asked for anything."""
    return None if value == usual else value
