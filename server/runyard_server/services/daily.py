"""What the server does by itself: once a day it applies the retention rules that say so, and then frees the disk.

More often than that it forgets files that came halfway and are not sent any more.
"""

import logging
import threading

from runyard.errors import RunyardError
from runyard.protocol.cleaning import GRACE_S
from runyard_server.services.cleaning import CleaningService
from runyard_server.services.retention import RetentionService
from runyard_server.services.uploads import UploadService

LOOK_EVERY_S = 600.0

log = logging.getLogger(__name__)


class Daily:
    """One thread. What is due is in the records: a server that did not run for a while does it at its next start."""

    def __init__(self, retention: RetentionService, cleaning: CleaningService, uploads: UploadService) -> None:
        self._retention = retention
        self._cleaning = cleaning
        self._uploads = uploads
        self._stopping = threading.Event()
        # Something has gone and nothing was cleaned up since. None: not known, since the server that did it may have
        # ended between the two.
        self._owes_cleaning: bool | None = None
        self._thread = threading.Thread(target=self._run, name="daily", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends it between one run, or one object of the store, and the next. The next start goes on with the runs, and
        cleans up after those."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def do_what_is_due(self) -> None:
        """Applies the rules that are due until nothing more goes by them, and cleans up where something went."""
        if self._owes_cleaning is None:
            self._owes_cleaning = any(rule.daily and rule.applied_at for rule in self._retention.list())
        names = self._retention.due()
        more = bool(names)
        while more and not self._stopping.is_set():
            goes = True  # as far as is known where it fails after some
            try:
                said = self._retention.apply_now(names, "server", self._stopping.is_set)
                goes = bool(said.gone)
            finally:
                self._owes_cleaning = self._owes_cleaning or goes
            more = goes and said.more > 0
        if self._owes_cleaning and not self._stopping.is_set():
            self._cleaning.clean(GRACE_S, False, self._stopping.is_set)
            self._owes_cleaning = self._stopping.is_set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._uploads.sweep()
            try:
                self.do_what_is_due()
            except RunyardError as fault:  # somebody applies them, cleans up or makes a backup at this moment
                log.warning("Not now: %s", fault)
            except Exception:
                log.exception("What is due once a day failed; it is tried again")
            self._stopping.wait(LOOK_EVERY_S)
