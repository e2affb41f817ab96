"""Pieces of HTML that every part of a notebook's output uses. Styles stand in the tags themselves."""

from html import escape
from typing import Iterable

QUIET = "opacity:0.75"
MONO = "font-family:ui-monospace,Menlo,Consolas,monospace;font-size:12px"
_FRAME = (
    "font-family:system-ui,sans-serif;font-size:13px;line-height:1.45;border:1px solid rgba(128,128,128,0.4);"
    "border-radius:6px;margin:0 0 6px;padding:10px 14px;max-width:880px"
)
# A notebook has margins of its own around tables and pictures, and the classic one a black for tables on any ground.
_TABLE = "border-collapse:collapse;margin:0;color:inherit"
_ROW = '<tr style="background:none">{}</tr>'


def framed(inside: str) -> str:
    """A piece of the output in a frame. Each is whole in itself: VS Code leaves a gap between them, JupyterLab none."""
    return '<div style="{}">{}</div>'.format(_FRAME, inside)


def table(rows: Iterable[str], style: str = "") -> str:
    """A table in the colours of its frame; ``rows``: the cells of each."""
    return '<table style="{}">{}</table>'.format(
        ";".join(filter(None, [_TABLE, style])), "".join(map(_ROW.format, rows))
    )


def link(address: str, text: str) -> str:
    """A link that opens beside the notebook; plain text where the address is none of the web."""
    if not address.startswith(("http://", "https://")):
        return escape(text)
    return '<a href="{}" target="_blank" rel="noopener">{}</a>'.format(escape(address, quote=True), escape(text))
