"""Ranks that the job starts itself: its own children, each with its number and what it needs to find the others."""

import queue
import subprocess
import threading
from typing import Any, List, Optional

from runyard.distributed.topology import Rank
from runyard.job.script import Script


class Children:
    """Starts ranks as child processes.

    Args:
        events: where ``("started", rank number, pid)``, ``("ended", rank number, exit code)`` and, of one whose container
            never began, ``("refused", rank number, why)`` go; a negative exit code is a signal's number.
    """

    def __init__(self, ranks: List[Rank], script: Script, events: "queue.SimpleQueue[Any]") -> None:
        self.pids: List[int] = []  # of what this process waits for itself
        self._ranks, self._script, self._events = ranks, script, events

    def start(self) -> None:
        """Raises OSError where the command cannot be started."""
        for rank in self._ranks:
            command, environment = self._script.launch(rank)
            # The file itself is the rank's output: whatever dies, what was written is in it.
            with open(self._script.output(rank.label), "ab") as output:
                process = subprocess.Popen(
                    command,
                    cwd=self._script.code,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            self.pids.append(process.pid)
            self._events.put(("started", rank.number, process.pid))
            name = "rank-{}".format(rank.number)
            threading.Thread(target=self._watch, args=(rank, process), name=name, daemon=True).start()

    def join(self, line: str) -> None:
        raise AssertionError("these ranks find each other by themselves")

    def _watch(self, rank: Rank, process: "subprocess.Popen[bytes]") -> None:
        code: Optional[int] = process.wait()
        if self._script.container is not None:
            output = self._script.output(rank.label)
            code, why = self._script.container.ended(rank.number, process.returncode, output)
        self._events.put(("refused", rank.number, why) if code is None else ("ended", rank.number, code))
