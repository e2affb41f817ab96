"""The fence: who speaks for an attempt that has ended is not heard any more."""

import threading

from runyard_server.records import runs as records
from runyard_server.records.engine import Database
from runyard_server.services.tokens import Lease

_MOST = 100_000  # runs that are remembered


class Fence:
    """Knows which attempts of submitted runs have ended.

    Asked with every request of a job, it answers from memory: this server is the only one that moves its runs.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._ended: dict[str, int] = {}  # the newest attempt that has ended, by run id; 0 while none has

    def is_over(self, lease: Lease) -> bool | None:
        """Whether the attempt has ended; None where that must be looked up."""
        ended = self._ended.get(lease.run_id)
        return None if ended is None else lease.attempt <= ended

    def knows(self, lease: Lease) -> bool:
        """Whether it is known when the attempt has ended: its run is here."""
        if self.is_over(lease) is None:
            self.look_up(lease)
        return self.is_over(lease) is not None

    def look_up(self, lease: Lease) -> bool:
        """Whether the attempt has ended, by what is recorded. Of a run that is not here nobody is kept away."""
        with self._database.read() as connection:
            run = records.find(connection, lease.run_id)
        if run is None:
            return False
        self.end(run.id, run.attempt if run.status.is_terminal else run.attempt - 1)
        return bool(self.is_over(lease))

    def end(self, run_id: str, attempt: int) -> None:
        """The run's attempts up to that one have ended: call it once that is recorded."""
        with self._lock:
            if len(self._ended) > _MOST:
                self._ended.clear()  # they are looked up again
            # What was read before another attempt ended may come here after it.
            self._ended[run_id] = max(attempt, self._ended.get(run_id, 0))
