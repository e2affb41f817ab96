"""The web pages."""

from runyard_server.ui.pages import install

__all__ = ["install"]
