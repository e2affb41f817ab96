"""What a notebook shows of an object that a cell ends with: its few facts as a table."""

from html import escape
from typing import Optional, Sequence, Tuple

from runyard.notebook.markup import link

_CELL = "text-align:left;padding:2px 14px 2px 0;vertical-align:top"


def card(facts: Sequence[Tuple[str, Optional[str]]]) -> str:
    """A table of one row; a fact that is None is left out, one that is an address of the web is a link."""
    known = [(name, str(value)) for name, value in facts if value is not None]
    head = "".join('<th style="{};font-weight:600">{}</th>'.format(_CELL, escape(name)) for name, _ in known)
    body = "".join('<td style="{}">{}</td>'.format(_CELL, _shown(name, value)) for name, value in known)
    return '<table style="width:auto"><tr>{}</tr><tr>{}</tr></table>'.format(head, body)


def _shown(name: str, value: str) -> str:
    return link(value, name) if value.startswith(("http://", "https://")) else escape(value)
