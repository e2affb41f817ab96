"""The table in a page of the documentation that a command writes: it stands between two marks."""

import sys
from pathlib import Path

_END = "<!-- end of the table -->"


class MarkedTable:
    """One such table.

    Args:
        page: the page's file.
        command: what writes the table, as the first mark says it.
    """

    def __init__(self, page: Path, command: str) -> None:
        self._page = page
        self._begin = f"<!-- table: {command} -->"

    def written(self) -> str:
        """What stands there now."""
        return self._parts()[1].strip()

    def write(self, table: str) -> None:
        """Puts a table in its place."""
        self._page.write_text(self._with(table), encoding="utf-8")

    def has(self, table: str) -> bool:
        """Whether writing this table would change nothing, not even a blank line."""
        return self._page.read_text(encoding="utf-8") == self._with(table)

    def _with(self, table: str) -> str:
        before, _, after = self._parts()
        return f"{before}{self._begin}\n\n{table}\n\n{_END}{after}"

    def _parts(self) -> tuple[str, str, str]:
        before, begins, rest = self._page.read_text(encoding="utf-8").partition(self._begin)
        table, ends, after = rest.partition(_END)
        if not begins or not ends:
            sys.exit(f"{self._page} lacks the marks {self._begin} and {_END}.")
        return before, table, after
