"""A case's line in the table of docs/reliability.md: what the test saw, carried by pytest's report."""

import re
from typing import Any

MARKER = "chaos"  # @pytest.mark.chaos("kill -9 of the script", "Running")
COLUMNS = ("outcome", "seconds", "history", "left", "next_run")
TRUE_WITHIN_S = 10.0  # what is promised: the true state, so long after the next look


class Row:
    """Filled by a test as it learns. A column that was not filled shows as "?" and fails ``make chaos``.

    Attributes:
        outcome: the state and its cause, in a few words.
        seconds: from the fault, or from the next look where nobody could look before, to that state seen.
        history: what was compared, as ``judge`` says it.
        left: processes, ports, locks and temporary files that are left: "nothing".
        next_run: how the run afterwards went: "works".
    """

    outcome: str
    seconds: float | None
    history: str
    left: str
    next_run: str

    def __init__(self, properties: list[tuple[str, Any]]) -> None:
        object.__setattr__(self, "_properties", properties)

    def __getattr__(self, name: str) -> Any:
        found = [value for column, value in self._properties if column == name]
        if not found:
            raise AttributeError(name)
        return found[-1]

    def __setattr__(self, name: str, value: Any) -> None:
        assert name in COLUMNS, name
        self._properties.append((name, value))  # type: ignore[attr-defined]


def shown_history(history: str) -> str:
    """The judge's counts differ from run to run; whatever else was said is shown as it is."""
    return "byte for byte" if re.match(r"\d+ lines, ", history) else history


def shown_seconds(seconds: float | None) -> str:
    """Rounded so far that another run of the suite shows the same."""
    if seconds is None:
        return "at once"
    for limit in (2, 5, 10):
        if seconds < limit:
            return f"< {limit} s"
    return f"{seconds:.0f} s"
