"""Ships what a process logs while it goes on: the thread of an interactive run."""

import os
import threading

from runyard.shipping import Shipped, Shipper

BUSY_S = 0.03
IDLE_S = 0.25
AWAY_S = 5.0


class BackgroundShipper:
    """A daemon thread that ships an interactive run's directory while the client goes on.

    It looks often while there is activity and seldom while there is none or no server. A process
    forked from this one does not ship: the parent, or a later client, does it for both.
    """

    def __init__(self, shipper: Shipper, directory: str, busy_s: float = BUSY_S, idle_s: float = IDLE_S) -> None:
        self.shipper = shipper
        self.directory = directory
        self.last = Shipped()
        self._busy_s, self._idle_s = busy_s, idle_s
        self._changed = threading.Condition()
        self._asked = 0  # flushes asked for so far
        self._done = 0  # of which a complete pass began after they were asked for
        self._closing = False
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name="runyard-shipper", daemon=True)
        self._thread.start()

    def flush(self, timeout_s: float = 300.0) -> bool:
        """Waits until all that was logged before is stored. False when the time was up, or in a forked child."""
        with self._changed:
            if self._process != os.getpid() or not self._thread.is_alive():
                return False
            self._asked += 1
            mine = self._asked
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._done >= mine or self._closing, timeout_s)
            return self._done >= mine

    def close(self, timeout_s: float = 5.0) -> bool:
        """Flushes, then ends the thread. Whether all was stored; what was not stays in the directory."""
        flushed = self.flush(timeout_s)
        if self._process == os.getpid():
            with self._changed:
                self._closing = True
                self._changed.notify_all()
        return flushed

    def _run(self) -> None:
        pause = self._busy_s
        while True:
            with self._changed:
                asked = self._asked
            self.last = shipped = self.shipper.ship_once(self.directory)
            with self._changed:
                if shipped.complete:
                    self._done = asked
                    self._changed.notify_all()
                if self._closing:
                    return
                if shipped:
                    pause = self._busy_s
                else:
                    pause = min(pause * 2, self._idle_s if shipped.complete else AWAY_S)
                if shipped.complete or not shipped:
                    self._rest(asked, pause)

    def _rest(self, asked: int, pause: float) -> None:
        """Waits for so long, or until a flush that the last pass did not know of."""
        self._changed.wait_for(lambda: self._closing or self._asked > asked, pause)
