"""The web pages."""

from runyard_server.ui.pages import install
from runyard_server.ui.visits import refused

__all__ = ["install", "refused"]
