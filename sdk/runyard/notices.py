"""What a person is told once per process, on stderr: that something they wrote is accepted and has no effect."""

import sys
from typing import Set

_said: Set[str] = set()


def say_once(text: str) -> None:
    """Writes ``runyard: <text>`` to stderr, unless this process has said it before."""
    if text not in _said:
        _said.add(text)
        sys.stderr.write("runyard: {}\n".format(text))
