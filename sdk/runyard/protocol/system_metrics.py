"""What is measured of a run's nodes, beside what its script logs: the names under which it is kept."""

from typing import Tuple

PREFIX = "runyard.system/"  # a script's own metrics never begin so


def name_of(node: int, what: str) -> str:
    """The metric of a node: ``runyard.system/0/cpu_percent``."""
    return "{}{}/{}".format(PREFIX, node, what)


def parts_of(name: str) -> Tuple[int, str]:
    """The node, and what was measured there."""
    node, _, what = name[len(PREFIX) :].partition("/")
    return int(node), what
