"""Pieces of HTML that every part of a notebook's output uses."""

from html import escape


def link(address: str, text: str) -> str:
    """A link that opens beside the notebook; plain text where the address is none of the web."""
    if not address.startswith(("http://", "https://")):
        return escape(text)
    return '<a href="{}" target="_blank" rel="noopener" style="color:#0969da">{}</a>'.format(
        escape(address, quote=True), escape(text)
    )
