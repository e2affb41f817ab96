"""Where a view is shown: pieces of a notebook's output that are updated in place, or a terminal."""

import sys
import uuid
from typing import Any, Dict, Optional


class NotebookScreen:
    """The output of a cell, one piece for each section; a piece is sent again only when it has changed.

    A piece is updated from any thread, whatever cell runs meanwhile. An empty piece that is never updated comes last:
    where a cell is run again, VS Code's Jupyter extension may learn that the old output was cleared only when the new
    one is there, and then forgets the display that came last, for good.
    """

    updates = True

    def __init__(self, display: Any) -> None:
        self._display = display
        self._ids: Dict[str, str] = {}
        self._shown: Dict[str, str] = {}

    def show(self, sections: Dict[str, str], text: str) -> None:
        """Shows the sections (HTML by name, in their order). The first one carries ``text`` for front ends without HTML."""
        first = not self._ids
        for place, (name, html) in enumerate(sections.items()):
            if self._shown.get(name) == html:
                continue
            known = name in self._ids
            self._send(self._ids.setdefault(name, _display_id()), html, text if place == 0 else "", update=known)
            self._shown[name] = html
        if first:
            self._send(_display_id(), "", "", update=False)

    def _send(self, display_id: str, html: str, text: str, update: bool) -> None:
        self._display({"text/html": html, "text/plain": text}, raw=True, display_id=display_id, update=update)


def _display_id() -> str:
    return "runyard-" + uuid.uuid4().hex


class TextScreen:
    """A terminal, or a program's output: shown once, as text."""

    updates = False

    def show(self, sections: Dict[str, str], text: str) -> None:
        """Prints the text."""
        sys.stdout.write(text + "\n")


def screen() -> Any:
    """A NotebookScreen where this process is a notebook's kernel, else a TextScreen."""
    display = _kernel_display()
    return TextScreen() if display is None else NotebookScreen(display)


def _kernel_display() -> Optional[Any]:
    """IPython's ``display`` where a front end listens to it; IPython is not loaded for the question."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or getattr(shell, "kernel", None) is None:
        return None
    from importlib import import_module

    return import_module("IPython.display").display
