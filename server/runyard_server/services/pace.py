"""How often a job is to come with what its run writes: at once to whoever looks, otherwise with more at a time."""

import threading
import time
from collections.abc import Callable

from runyard_server.services.hub import Hub

UNSEEN_S = 1.0  # of a run that nobody follows
MEASURED_S = 0.5  # metrics of one that somebody does: a page looks at them every 0.7 seconds at the most
SEEN_AT_MOST_S = 0.25  # a line of its log
_EACH_S = 0.01  # for each run that writes: with few of them a line comes as quickly as the job sees it
_WRITES_FOR_S = 2.0  # since its last piece


class Pace:
    """Says with the answer to each piece of a stream for how long the server can do without the next one.

    A piece costs the server about as much with one line as with fifty, and each run's job sends its own: without this,
    twenty runs that each write ten lines a second keep half a processor busy that nobody looks at.
    """

    def __init__(self, hub: Hub, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._hub = hub
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._wrote_at: dict[str, float] = {}
        self._looked_at = 0.0

    def log_rest_s(self, run_id: str) -> float:
        """For a log of the run, of which a piece has come."""
        writing = self._writing(run_id)
        return min(SEEN_AT_MOST_S, _EACH_S * writing) if self._hub.is_watched(run_id) else UNSEEN_S

    def metrics_rest_s(self, run_id: str) -> float:
        """For a writer's metrics of the run, of which a piece has come."""
        self._writing(run_id)
        return MEASURED_S if self._hub.is_watched(run_id) else UNSEEN_S

    def _writing(self, run_id: str) -> int:
        """How many runs write at present, this one among them."""
        now = self._monotonic()
        with self._lock:
            self._wrote_at[run_id] = now
            if now > self._looked_at + _WRITES_FOR_S:
                self._looked_at = now
                self._wrote_at = {id_: at for id_, at in self._wrote_at.items() if at > now - _WRITES_FOR_S}
            return len(self._wrote_at)
