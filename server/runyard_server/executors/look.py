"""Looks at an engine: one for everybody who asks within a moment, and nobody waits long for one that does not come."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from runyard_server.executors.base import EngineAwayError

Seen = TypeVar("Seen")
Key = TypeVar("Key")
Shown = TypeVar("Shown")

_SHARE = 20  # at most a twentieth of the time goes into looking
_FIRST_PATIENCE_S = 6.0
_FORGOTTEN_AFTER_S = 600.0  # what nobody asks for any more


@dataclass(frozen=True)
class Look(Generic[Seen]):
    """What an engine showed, by its own names of jobs. ``began_at``: when it was asked, by a clock that never goes back."""

    jobs: dict[str, Seen] = field(default_factory=dict)
    began_at: float = float("-inf")


class Lookout(Generic[Seen]):
    """Keeps the newest look.

    Args:
        jobs: asks the engine for its jobs; may take long.
        engine: its name, for people.
        every_s: how old a look may be at least before there is another one.
        patience_s: how long somebody who asks waits for it.
        stale_s: how old the newest look may become, while others fail or do not come, before the engine counts as away.
    """

    def __init__(
        self,
        jobs: Callable[[], dict[str, Seen]],
        every_s: float = 1.0,
        patience_s: float = 1.0,
        stale_s: float = 10.0,
        engine: str = "Slurm",
    ) -> None:
        self._jobs = jobs
        self._engine = engine
        self._every_s, self._patience_s, self._stale_s = every_s, patience_s, stale_s
        self._changed = threading.Condition()
        self._newest: Look[Seen] = Look()
        self._trouble: EngineAwayError | None = None
        self._looking_since: float | None = None
        self._next_at = float("-inf")

    def latest(self) -> Look[Seen]:
        """A look that is as new as it should be; an older one where Slurm takes its time.

        Raises:
            EngineAwayError: it has not answered for long.
        """
        with self._changed:
            if self._looking_since is None and time.monotonic() >= self._next_at:
                threading.Thread(target=self._look, name=f"look at {self._engine}", daemon=True).start()
                self._looking_since = time.monotonic()  # after what may raise; a look ends under this lock
            if self._looking_since is not None:  # those who come later wait for the rest of the first one's time
                patience_s = self._patience_s if self._newest.began_at > 0 else _FIRST_PATIENCE_S
                left = self._looking_since + patience_s - time.monotonic()
                self._changed.wait_for(lambda: self._looking_since is None, max(0.0, left))
            answered = self._trouble is None and self._looking_since is None
            if answered or time.monotonic() - self._newest.began_at <= self._stale_s:
                return self._newest
            raise self._trouble or EngineAwayError(f"{self._engine} does not answer: its list of jobs takes long.")

    def look_soon(self) -> None:
        """Something was changed: who asks next is shown what came of it."""
        with self._changed:
            self._next_at = min(self._next_at, time.monotonic())

    def trouble(self) -> EngineAwayError | None:
        """Why the last look failed; None if it did not."""
        with self._changed:
            return self._trouble

    def _look(self) -> None:
        began_at = time.monotonic()
        found, trouble = None, None
        try:
            found = Look(self._jobs(), began_at)
        except EngineAwayError as fault:
            trouble = fault
        except Exception as fault:  # what it printed makes no sense: to who waits the same
            trouble = EngineAwayError(f"The answer of {self._engine} is not understood: {fault!r}")
        with self._changed:
            self._newest, self._trouble = found or self._newest, trouble
            took_s = time.monotonic() - began_at
            self._next_at = time.monotonic() + max(self._every_s - took_s, (_SHARE - 1) * took_s if found else 0.0)
            self._looking_since = None
            self._changed.notify_all()


class Glance(Generic[Key, Shown]):
    """What an engine showed of something a moment ago, or that it did not answer: not everybody who asks is to wait.

    Args:
        good_for_s: seconds until it is asked again.
    """

    def __init__(self, good_for_s: float) -> None:
        self._good_for_s = good_for_s
        self._lock = threading.Lock()
        self._kept: dict[Key, tuple[float, Shown | EngineAwayError]] = {}
        self._answered: dict[Key, tuple[float, Shown]] = {}  # the last answer, whatever came after it
        self._asking: set[Key] = set()  # in the background

    def of(self, key: Key, ask: Callable[[], Shown]) -> Shown:
        """What ``ask`` gives, or gave of the same ``key`` a moment ago.

        Raises:
            EngineAwayError: the engine does not answer, or did not then.
        """
        with self._lock:
            kept = self._kept.get(key)
        if kept is None or time.monotonic() - kept[0] > self._good_for_s:
            kept = self._ask(key, ask)
        if isinstance(kept[1], EngineAwayError):
            raise kept[1]
        return kept[1]

    def last(self, key: Key, ask: Callable[[], Shown], most_s: float) -> Shown | None:
        """What ``ask`` gave last, without waiting: it is asked meanwhile, by one thread.

        Args:
            most_s: how old that may be. None is given for an older one, and where there was none yet.
        """
        now = time.monotonic()
        with self._lock:
            kept, answered = self._kept.get(key), self._answered.get(key)
            if (kept is None or now - kept[0] > self._good_for_s) and key not in self._asking:
                threading.Thread(target=self._ask_behind, args=(key, ask), name="glance", daemon=True).start()
                self._asking.add(key)  # after what may raise; who asks behind comes to its end under this lock
        return None if answered is None or now - answered[0] > most_s else answered[1]

    def _ask_behind(self, key: Key, ask: Callable[[], Shown]) -> None:
        try:
            self._ask(key, ask)
        finally:
            with self._lock:
                self._asking.discard(key)

    def _ask(self, key: Key, ask: Callable[[], Shown]) -> tuple[float, Shown | EngineAwayError]:
        began_at = time.monotonic()
        shown: Shown | EngineAwayError
        try:
            shown = ask()
        except EngineAwayError as away:
            shown = away
        except Exception as fault:  # what it answered makes no sense: to who waits the same
            shown = EngineAwayError(f"The engine's answer is not understood: {fault!r}")
        kept = (time.monotonic(), shown)
        long_ago = kept[0] - _FORGOTTEN_AFTER_S
        with self._lock:
            self._kept = {each: one for each, one in self._kept.items() if one[0] > long_ago}
            self._answered = {each: one for each, one in self._answered.items() if one[0] > long_ago}
            self._kept[key] = kept
            if not isinstance(shown, EngineAwayError):
                self._answered[key] = (began_at, shown)
        return kept
