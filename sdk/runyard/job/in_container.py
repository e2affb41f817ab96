"""The first process of a rank's container: starts the script, passes signals on, says how it ended, dies with its job.

Run by the image's own Python (3.7 or later) without its packages: ``python -I -S in_container.py LAUNCH``, where
LAUNCH is a file of the job's directory, which is mounted at the same path. What a rank is told is in that file and on
no command line, for it holds the run's token. How the script ended is written beside it, exactly: an engine's own exit
code cannot tell a signal from a number.

The job holds a lock on a file while it lives. Who gets it here knows that the job is gone, and ends the container:
whatever kills a job, no engine has to be asked to clear up after it.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from typing import Any, Dict, List

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from runyard.home import write_json
from runyard.job.out_of_memory import MemoryWatch

_LOOK_EVERY_S = 5.0
_PASSED_ON = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGCONT")


def main(path: str) -> int:
    with open(path) as file:
        launch = json.load(file)
    _say(launch["end"], {"begun": True})
    if launch["alive"]:
        _start(_die_with_the_job, launch["alive"])
    memory = MemoryWatch()
    _start(_look_at, memory)
    signals = _Signals()
    try:
        script = _started(launch)
    except OSError as fault:
        _say(launch["end"], {"begun": True, "refused": fault.strerror or str(fault)})
        return 127
    signals.go_to(script.pid)
    code = _wait(script.pid)
    verdict = memory.verdict(script.pid) if code == -signal.SIGKILL else None
    _say(launch["end"], {"begun": True, "code": code, "memory": verdict})
    return code if code >= 0 else 128 - code


def _started(launch: Dict[str, Any]) -> "subprocess.Popen[bytes]":
    environment = dict(os.environ)  # what the image itself sets
    environment["PATH"] = launch["path"] + os.pathsep + environment.get("PATH", os.defpath)
    environment.update(launch["environment"])
    # The file itself is the rank's output: whatever dies, what was written is in it.
    with open(launch["output"], "ab") as output:
        return subprocess.Popen(
            launch["command"],
            cwd=launch["code"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


class _Signals:
    """Passes signals on to the script's group; those that come before it runs, when it does."""

    def __init__(self) -> None:
        self._group = 0
        self._early: List[int] = []
        for name in _PASSED_ON:
            signal.signal(getattr(signal, name), self._hear)

    def go_to(self, group: int) -> None:
        self._group = group
        for number in self._early:
            self._send(number)

    def _hear(self, number: int, _: object) -> None:
        if self._group:
            self._send(number)
        else:
            self._early.append(number)

    def _send(self, number: int) -> None:
        try:
            os.killpg(self._group, number)
        except ProcessLookupError:
            pass  # it has ended


def _wait(pid: int) -> int:
    """The script's exit code as ``subprocess`` counts it. Whoever loses its parent in a container is our child."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == pid:
            return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _die_with_the_job(path: str) -> None:
    lock = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
    except OSError:
        return  # a file system that knows no locks: the job's processes are found by their marker alone
    os._exit(128 + signal.SIGKILL)  # and with the first process all others of the container


def _look_at(memory: MemoryWatch) -> None:
    pause = threading.Event()
    while not pause.wait(_LOOK_EVERY_S):
        memory.look()


def _start(target: Any, *args: Any) -> None:
    threading.Thread(target=target, args=args, daemon=True).start()


def _say(path: str, said: Dict[str, Any]) -> None:
    try:
        write_json(path, said)
    except OSError as fault:  # a full disk: the engine's exit code has to do
        sys.stderr.write("{} cannot be written: {}\n".format(path, fault))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
