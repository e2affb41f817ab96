"""Where a view is shown: pieces of a notebook's output that are updated in place, or a terminal."""

import sys
import uuid
from typing import Any, Dict, Optional


class NotebookScreen:
    """The output of a cell, one piece for each section; a piece is sent again only when it has changed.

    A piece is updated from any thread, whatever cell runs meanwhile.
    """

    updates = True

    def __init__(self, display: Any) -> None:
        self._display = display
        self._ids: Dict[str, str] = {}
        self._shown: Dict[str, str] = {}

    def show(self, sections: Dict[str, str], text: str) -> None:
        """Shows the sections (HTML by name, in their order). The first one carries ``text`` for front ends without HTML."""
        for place, (name, html) in enumerate(sections.items()):
            if self._shown.get(name) == html:
                continue
            bundle = {"text/html": html, "text/plain": text if place == 0 else ""}
            known = name in self._ids
            display_id = self._ids.setdefault(name, "runyard-" + uuid.uuid4().hex)
            self._display(bundle, raw=True, display_id=display_id, update=known)
            self._shown[name] = html


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
