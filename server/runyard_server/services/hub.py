"""Who waits for news of which run: publishing wakes the followers, without polling."""

import asyncio
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    """What is new of a run. Where it is neither metrics nor a log, it may be anything.

    Attributes:
        measured: there are more metrics.
        grown: the name of a log that has grown.
    """

    measured: bool = False
    grown: str = ""


ANYTHING = Change()


class News(asyncio.Event):
    """Set at every publish; whoever waits takes it before looking.

    Args:
        watches: whether the follower tells somebody of each line.
        measures: whether it tells of metrics, too, which are then looked at.
    """

    def __init__(self, watches: bool, measures: bool) -> None:
        super().__init__()
        self.watches, self.measures = watches, measures
        self._changes: set[Change] = set()

    def tell(self, change: Change) -> None:
        self._changes.add(change)
        self.set()

    def take(self) -> set[Change]:
        """What has come since the last time."""
        self.clear()
        taken, self._changes = self._changes, set()
        return taken


class Hub:
    """Carries "something about this run changed" from any thread to the event loop's followers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, set[tuple[asyncio.AbstractEventLoop, News]]] = {}
        self._begun = secrets.token_hex(4)
        self._changes = 0

    def publish(self, run_id: str, change: Change = ANYTHING) -> None:
        """Wakes everyone who follows the run. Callable from any thread; costs nothing without followers."""
        with self._lock:
            self._changes += change == ANYTHING
            waiting = list(self._waiting.get(run_id, ()))
        for loop, news in waiting:
            try:
                loop.call_soon_threadsafe(news.tell, change)
            except RuntimeError:  # the loop has closed: its followers are gone with it
                continue

    def mark(self) -> str:
        """Another one after each change of any run that is more than its metrics and logs: a new run, a status, a tag.

        Whoever reads runs takes it before, and knows by it later whether to read again. A new server has others.
        """
        with self._lock:
            return f"{self._begun}-{self._changes}"

    def is_watched(self, run_id: str) -> bool:
        """Whether somebody is told of each line of the run, as it comes."""
        with self._lock:
            return any(news.watches for _, news in self._waiting.get(run_id, ()))

    def measuring(self) -> int:
        """How many followers, of whichever runs, tell of metrics."""
        with self._lock:
            return sum(news.measures for waiting in self._waiting.values() for _, news in waiting)

    @contextmanager
    def following(self, run_id: str, watches: bool, measures: bool = False) -> Iterator[News]:
        """News of the run, for as long as it is followed."""
        entry = (asyncio.get_running_loop(), News(watches, measures))
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
