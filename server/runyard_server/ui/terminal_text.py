"""What a terminal would show of a log: no control sequences, of a progress bar its last state."""

import codecs
import re
from dataclasses import dataclass

TAIL_BYTES = 64 << 10

# Sequences that set colours, move the cursor or name the window; one that is cut off at the end counts, too.
_SEQUENCES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[ -/]*[0-~]?)")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def shown(text: str) -> str:
    """The text as its last state on a terminal."""
    plain = _CONTROLS.sub("", _SEQUENCES.sub("", text))
    if "\r" not in plain:
        return plain
    return "\n".join(_last_state(line) for line in plain.split("\n"))


def _last_state(line: str) -> str:
    """What stands in a line that was written over after each carriage return."""
    states = [state for state in line.split("\r") if state]
    return states[-1] if states else ""


@dataclass(frozen=True)
class Tail:
    """The last part of a log. ``end``: the byte offset at which it goes on. ``cut``: there is more before it."""

    text: str
    end: int
    cut: bool


def tail(data: bytes, start: int) -> Tail:
    """The text of a log's bytes from offset ``start`` on: whole lines at its begin, whole characters at its end."""
    skipped = data.find(b"\n") + 1 if start else 0
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data[skipped:])
    held_back = len(decoder.getstate()[0])
    return Tail(shown(text), start + len(data) - held_back, start > 0)
