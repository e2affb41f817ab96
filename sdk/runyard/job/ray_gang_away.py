"""The driver of a gang on Ray where neither its head nor its nodes see the server's folder.

``bootstrap.py`` has fetched this package to the head, and what the gang is to be. What ``ray_gang.py`` writes into the
folder goes over HTTP, and each node is given no more than a driver is: the bootstrap, and a ticket of its own.
"""

import os
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, Dict, List, Optional

from runyard.errors import AttemptOverError, RunyardError
from runyard.job import bootstrap, ray_gang, task
from runyard.transport.base import url_path
from runyard.transport.http import HttpTransport

_TELL_EVERY_S = 2.0  # it hears with the answer that the run was taken back
_LAST_WORD_S = 60.0
_HOSTS = task.HOSTS  # a word: the module is not on the nodes


class AwayHolder(ray_gang.Holder):
    """An actor of Ray's on a node that has nothing of ours."""

    def _hold(self, told: List[str], hosts: List[str], gpus: List[str]) -> int:
        program, line = told
        names = {_HOSTS: " ".join(hosts), "CUDA_VISIBLE_DEVICES": ",".join(gpus)}
        # RAY_ variables stay: the bootstrap keeps them from the job.
        command = [sys.executable, "-S", "-c", program]
        environment = dict(os.environ, **names)
        held = subprocess.Popen(
            command, stdin=subprocess.PIPE, env=environment, cwd="/", start_new_session=True, universal_newlines=True
        )
        held.communicate(line + "\n")
        return held.returncode


class AwayGang(ray_gang.Gang):
    """One whose state goes over HTTP."""

    holder = AwayHolder

    def __init__(self, gang: Dict[str, Any], says: "Sayings") -> None:
        super().__init__(len(gang["nodes"]), gang["bundle"])
        self._lines: List[str] = gang["nodes"]
        self._program = Path(bootstrap.__file__).read_text(encoding="utf-8")
        self._says = says
        self._ended: Dict[str, int] = {}

    def _prepare(self, ray: Any) -> None:
        for name in (ray_gang.__name__, __name__):  # the nodes have no module of ours
            ray.cloudpickle.register_pickle_by_value(sys.modules[name])

    def _may_begin(self) -> bool:
        self._says.say({"begun": True})
        return self._says.until_said(self.is_stopped) and not self._says.is_taken_back

    def _is_taken_back(self) -> bool:
        return self.is_stopped.is_set() or self._says.is_taken_back

    def _write(self, told: Dict[str, Any]) -> None:
        self._says.say(dict(told, ended=self._ended))

    def _all_have_ended(self) -> bool:
        return False  # each holder tells it

    def _made_with(self) -> List[str]:
        return []

    def _task_of(self, place: int) -> List[str]:
        return [self._program, self._lines[place]]

    def _hear_end(self, place: int, code: int) -> None:
        self._ended = dict(self._ended, **{str(place): code})
        self._write(self._told)


class Sayings:
    """Tells the server the newest of what there is to say, again and again, and hears whether to go on."""

    def __init__(self, transport: HttpTransport, run_id: str, attempt: int) -> None:
        self._transport = transport
        self._path = url_path("runs", run_id, "attempts", str(attempt), "driver", "state")
        self._changed = threading.Condition()
        self._newest: Dict[str, Any] = {}
        self._number, self._said = 0, 0
        self._complaint = ""
        self.is_taken_back = False
        threading.Thread(target=self._keep_telling, name="sayings", daemon=True).start()

    def say(self, told: Dict[str, Any]) -> None:
        """Has it told soon."""
        with self._changed:
            self._newest, self._number = told, self._number + 1
            self._changed.notify_all()

    def until_said(self, stop: Optional[threading.Event] = None, patience_s: float = float("inf")) -> bool:
        """Waits until the server has heard everything; whether it has, before ``stop`` or the end of the patience."""
        waited_s = 0.0
        with self._changed:
            while self._said < self._number and waited_s < patience_s and not (stop is not None and stop.is_set()):
                self._changed.wait(0.5)
                waited_s += 0.5
            return self._said == self._number

    def _keep_telling(self) -> None:
        while True:
            with self._changed:
                if self._said == self._number:
                    self._changed.wait(_TELL_EVERY_S)
                newest, number = self._newest, self._number
            goes_on = self._tell(newest)
            with self._changed:
                if goes_on is None:
                    self._changed.wait(_TELL_EVERY_S)  # the server is away
                    continue
                self._said = number
                self.is_taken_back = not goes_on
                self._changed.notify_all()

    def _tell(self, newest: Dict[str, Any]) -> Optional[bool]:
        """Whether the gang is to go on; None where the server did not hear it."""
        try:
            goes_on = bool(self._transport.call("POST", self._path, json=newest)["goes_on"])
        except AttemptOverError:
            return False
        except RunyardError as fault:
            self._complain("{}\n".format(fault))
            return None
        except Exception:  # whatever it is, somebody waits to be told what the server says
            self._complain(traceback.format_exc())
            return None
        self._complaint = ""
        return goes_on

    def _complain(self, complaint: str) -> None:
        """Says it once: a server may be away for days."""
        if complaint != self._complaint:
            self._complaint = complaint
            sys.stderr.write(complaint)


def leave(transport: HttpTransport, run_id: str, attempt: int, leaving: str) -> None:
    """Tells the server for a node that is no gang's what its own driver has heard: it is about to be taken away."""
    Sayings(transport, run_id, attempt).say({"begun": True, "leaving": leaving})


def run(told: Dict[str, Any], given: Dict[str, Any]) -> int:
    """Drives the gang that this process has come for; its exit code.

    Args:
        told: the invitation.
        given: what the server has answered to it.
    """
    transport = HttpTransport(lambda: told["server_url"], lambda: given["token"], patience_s=1.0)
    says = Sayings(transport, told["run_id"], told["attempt"])
    code = ray_gang.drive(AwayGang(given["task"]["gang"], says))
    says.until_said(patience_s=_LAST_WORD_S)
    return code
