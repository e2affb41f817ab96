"""A clock that a test moves."""


class FakeClock:
    """Stands still until ``advance`` is called."""

    def __init__(self, now: float = 1_566_000_000.0) -> None:
        self._now = now
        self._monotonic = 1000.0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float = 0.0, minutes: float = 0.0) -> None:
        """Moves both clocks forward."""
        self._now += seconds + 60 * minutes
        self._monotonic += seconds + 60 * minutes

    def jump(self, seconds: float) -> None:
        """Sets the wall clock forward, or back by a negative number; no time passes."""
        self._now += seconds

    def set_back(self, seconds: float) -> None:
        """Sets the wall clock back, as an administrator or a time server may."""
        self._now -= seconds
