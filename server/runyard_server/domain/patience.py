"""How long nothing new was heard of somebody, whatever happens to the clock on the wall."""

from collections.abc import Hashable

_FORGOTTEN_S = 600.0  # who was not asked about for so long is not waited for any more


class Patience:
    """Remembers each one's last sign of life and when it was first seen here.

    Measured from that moment on, with a clock that never goes back: while this server was away, this machine slept
    or the clock was set, nobody could be heard.
    """

    def __init__(self) -> None:
        self._seen: dict[Hashable, tuple[object, float, float]] = {}  # last sign, since when, last asked at
        self._tidied_at = 0.0

    def __contains__(self, who: Hashable) -> bool:
        return who in self._seen

    def silence_of(self, who: Hashable, sign: object, now: float) -> float:
        """Seconds for which ``sign`` has been the last one; 0 where it is new.

        Args:
            sign: anything that changes with every sign of life.
            now: seconds by a monotonic clock.
        """
        before, since, _ = self._seen.get(who, (sign, now, now))
        since = since if sign == before else now
        self._seen[who] = (sign, since, now)
        if now - self._tidied_at > _FORGOTTEN_S:
            self._tidied_at = now
            self._seen = {who: seen for who, seen in self._seen.items() if now - seen[2] <= _FORGOTTEN_S}
        return now - since
