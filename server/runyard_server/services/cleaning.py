"""Clean-up of the object store: what no run, model or snapshot needs goes; what is needed, or just came, never does.

Marks and sweeps: it reads what is needed from the records, then looks at each object. That is safe while files arrive,
because an object counts as new whenever a client was told that it is here (``ObjectStore.renew``): whoever relies on
one has the grace time to write down that it is needed. Killed at any moment, it has removed only what nothing needed.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from runyard.errors import UserErrorException
from runyard.protocol.cleaning import Cleaning
from runyard_server.artifacts.store import FolderStore
from runyard_server.domain.clock import Clock
from runyard_server.records import files as records
from runyard_server.records.engine import Database

LEAST_GRACE_S = 3600.0  # far more than the minute for which an object is not renewed anew


@dataclass
class _Count:
    objects: int = 0
    size_bytes: int = 0

    def add(self, size: int) -> None:
        self.objects += 1
        self.size_bytes += size


class CleaningService:
    """Cleans the store up.

    Args:
        forget: is told that snapshots are gone.
    """

    def __init__(self, database: Database, clock: Clock, store: FolderStore, forget: Callable[[], None]) -> None:
        self._database = database
        self._clock = clock
        self._store = store
        self._forget = forget
        self._cleaning = threading.Lock()

    def clean(self, grace_s: float, dry_run: bool, stopped: Callable[[], bool] = lambda: False) -> Cleaning:
        """Removes snapshots that no run has and objects that nothing needs, if they are older than ``grace_s``.

        A dry run counts what would go and removes nothing.

        Args:
            stopped: is asked between one object and the next whether to end here.
        Raises:
            UserErrorException: a grace time that is too short; or a clean-up or a backup goes on.
        """
        if not grace_s >= LEAST_GRACE_S:
            raise UserErrorException(
                f"A grace time of {grace_s:g} s is too short: files that are on their way would be lost. Give at least "
                f"{LEAST_GRACE_S:g} s."
            )
        if not self._cleaning.acquire(blocking=False):
            raise UserErrorException("A clean-up goes on already. Wait for its end, then ask again if you must.")
        try:
            with self._store.sweeping():
                return self._clean(grace_s, dry_run, stopped)
        finally:
            self._cleaning.release()

    def _clean(self, grace_s: float, dry_run: bool, stopped: Callable[[], bool]) -> Cleaning:
        asked_before = self._clock.now() - grace_s
        if dry_run:
            with self._database.read() as connection:
                gone = records.unneeded_snapshots(connection, asked_before)
                needed = records.needed_sizes(connection, without=gone)
        else:
            with self._database.write() as connection:
                gone = records.remove_unneeded_snapshots(connection, asked_before)
            self._forget()
            with self._database.read() as connection:
                needed = records.needed_sizes(connection)
        # The files' own times are the machine's, not those of a clock that was given.
        came_before = time.time() - grace_s
        removed, kept, young = _Count(), _Count(), _Count()
        for digest, size, came_at in self._store.objects():
            if stopped():
                break
            if bytes.fromhex(digest) in needed:
                kept.add(size)
            elif came_at >= came_before or not (dry_run or self._store.remove_older(digest, came_before)):
                young.add(size)
            else:
                removed.add(size)
        return Cleaning(
            dry_run=dry_run,
            snapshots=len(gone),
            objects=removed.objects,
            size_bytes=removed.size_bytes,
            needed_objects=kept.objects,
            needed_bytes=kept.size_bytes,
            young_objects=young.objects,
            young_bytes=young.size_bytes,
        )
