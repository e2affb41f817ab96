"""Ranks that the job starts itself: its own children, each with its number and what it needs to find the others."""

import queue
import subprocess
import threading
from typing import Any, List

from runyard.distributed.topology import Rank
from runyard.job.script import Script


class Children:
    """Starts ranks as child processes.

    Args:
        events: where ``("started", rank number, pid)`` and ``("ended", rank number, exit code)`` go; a
            negative exit code is a signal's number.
    """

    def __init__(self, ranks: List[Rank], script: Script, events: "queue.SimpleQueue[Any]") -> None:
        self.pids: List[int] = []  # of what this process waits for itself
        self._ranks, self._script, self._events = ranks, script, events

    def start(self) -> None:
        """Raises OSError where the command cannot be started."""
        for rank in self._ranks:
            # The file itself is the rank's output: whatever dies, what was written is in it.
            with open(self._script.output(rank.label), "ab") as output:
                process = subprocess.Popen(
                    self._script.command(),
                    cwd=self._script.code,
                    env=self._script.environment(rank),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            self.pids.append(process.pid)
            self._events.put(("started", rank.number, process.pid))
            name = "rank-{}".format(rank.number)
            threading.Thread(target=self._watch, args=(rank.number, process), name=name, daemon=True).start()

    def join(self, line: str) -> None:
        raise AssertionError("these ranks find each other by themselves")

    def _watch(self, number: int, process: "subprocess.Popen[bytes]") -> None:
        self._events.put(("ended", number, process.wait()))
