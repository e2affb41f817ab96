"""The stacks of a run's processes, while it runs: asked for, waited for, read."""

import time
from typing import TYPE_CHECKING, Dict

if TYPE_CHECKING:
    from runyard.run import Run

FOLDER = "azureml-logs/stacks/"
_LOOK_EVERY_S = 0.1


def file_name(label: str) -> str:
    """Of the stack of the rank of that label."""
    return "rank-{}.txt".format(label)


def last_line(label: str) -> str:
    """The end of each stack's file: who reads it while it comes takes no half for the whole."""
    return "-- end of rank {} --\n".format(label)


def take(run: "Run", timeout_s: float) -> Dict[str, str]:
    """Asks for every rank's stack; gives those that came in time, by the rank's label.

    A rank that did not answer is not among them: its job is frozen, or the run has ended meanwhile.

    Raises:
        RunException: the run has no rank that runs.
    """
    asked = run._call("POST", "stacks")
    folder = "{}{}/".format(FOLDER, asked["name"])
    wanted = {file_name(label): label for label in asked["ranks"]}
    found: Dict[str, str] = {}
    deadline = time.monotonic() + timeout_s
    while True:
        for name in run._log_names():
            label = wanted.get(name.rpartition("/")[2]) if name.startswith(folder) else None
            if label is not None and label not in found:
                text = run._read_log(name)
                if text.endswith(last_line(label)):
                    found[label] = text[: -len(last_line(label))]
        if len(found) == len(wanted) or time.monotonic() > deadline:
            return {label: found[label] for label in asked["ranks"] if label in found}
        time.sleep(_LOOK_EVERY_S)
