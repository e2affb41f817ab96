"""What several ranks print, as one text: whole lines in the order in which they come, each with its rank's name."""

import re
from typing import Dict, List, Optional

_TITLE = "70_driver_log_*.txt"  # where all of them are shown together

_LOG = re.compile(r"azureml-logs/(?:attempt-\d+/)?70_driver_log_(\w+)\.txt$")
_LONGEST = 65536  # of a line that has no end yet


def rank_of(log: str) -> Optional[str]:
    """The label of the rank that prints to the log of that name; None where the run has one rank, or it is another log."""
    found = _LOG.match(log)
    return None if found is None else found.group(1)


def title_of(log: str) -> str:
    """The name under which the logs of all ranks are shown together: those of one attempt."""
    return "{}/{}".format(log.rpartition("/")[0], _TITLE)


class RankLines:
    """Takes pieces as they come, gives whole lines. What a carriage return took back (a progress bar) is left out."""

    def __init__(self) -> None:
        self._begun: Dict[str, str] = {}

    def take(self, rank: str, text: str) -> str:
        """The lines of the rank that are whole with this piece, each with its name before it."""
        *whole, begun = (self._begun.get(rank, "") + text).split("\n")
        if len(begun) > _LONGEST:
            begun = _shown(begun)  # of a progress bar its present state alone
        if len(begun) > _LONGEST:
            whole, begun = whole + [begun], ""
        self._begun[rank] = begun
        return "".join(named(rank, line) for line in whole)

    def rest(self) -> str:
        """What has no end yet, once nothing more comes."""
        lines = [named(rank, text) for rank, text in sorted(self._begun.items()) if text]
        self._begun.clear()
        return "".join(lines)


def named(rank: str, line: str) -> str:
    """One line with its rank's name before it."""
    return "[{}] {}\n".format(rank, _shown(line))


def in_order(logs: List[str]) -> List[str]:
    """Names of logs, those of ranks by number."""
    return sorted(
        logs,
        key=lambda log: [
            (not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", log)
        ],
    )


def _shown(line: str) -> str:
    return line.rstrip("\r").rsplit("\r", 1)[-1]
