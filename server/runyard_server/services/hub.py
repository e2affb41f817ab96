"""Who waits for news of which run: publishing wakes the followers, without polling."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Hub:
    """Carries "something about this run changed" from any thread to the event loop's followers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, set[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = {}

    def publish(self, run_id: str) -> None:
        """Wakes everyone who follows the run. Callable from any thread; costs nothing without followers."""
        with self._lock:
            waiting = list(self._waiting.get(run_id, ()))
        for loop, event in waiting:
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:  # the loop has closed: its followers are gone with it
                continue

    @contextmanager
    def following(self, run_id: str) -> Iterator[asyncio.Event]:
        """An event that is set at every publish; the follower clears it before it looks."""
        entry = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._waiting.setdefault(run_id, set()).add(entry)
        try:
            yield entry[1]
        finally:
            with self._lock:
                followers = self._waiting[run_id]
                followers.discard(entry)
                if not followers:
                    del self._waiting[run_id]
