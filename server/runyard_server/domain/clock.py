"""Time as something that is passed in, so that tests need no sleeping."""

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> float:
        """Seconds since the epoch, UTC: for what is written down."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; never goes back: for durations and deadlines."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()
