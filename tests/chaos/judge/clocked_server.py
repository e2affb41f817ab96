"""A server that is passed a clock: ``clocked_server.py HOME FILE``; the file holds the seconds to add to the time."""

import fcntl
import os
import sys
import time
from pathlib import Path

from runyard_server.domain.clock import SystemClock
from runyard_server.serve import serve
from runyard_server.settings import load


class SetClock(SystemClock):
    """The machine's clock, as somebody has set it."""

    def __init__(self, set_by: Path) -> None:
        self._set_by = set_by

    def now(self) -> float:
        return time.time() + float(self._set_by.read_text())


if __name__ == "__main__":
    lock = open(Path(sys.argv[1], "server.lock"), "a")  # one server per home: held to the end
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    sys.exit(serve(load(sys.argv[1], os.environ, embedded=True), clock=SetClock(Path(sys.argv[2]))))
