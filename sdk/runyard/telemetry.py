"""Azure's switch for telemetry. There is none here: nothing is sent to anyone but the workspace's own server."""

import logging
from typing import Optional

from runyard.notices import say_once


def set_diagnostics_collection(
    send_diagnostics: bool = True,
    verbosity: int = logging.INFO,
    reason: str = "",
    path: Optional[str] = None,
    logger: Optional[logging.Logger] = None,
) -> None:
    """Accepted so that notebooks run unchanged; says once that nothing is collected, whatever is asked."""
    say_once("no diagnostics are collected or sent, whatever set_diagnostics_collection asks for.")
