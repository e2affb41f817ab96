"""Tensorboard: TensorBoard beside runs, fed with the event files that they write while they go on."""

import atexit
import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from typing import IO, TYPE_CHECKING, Any, Dict, List, Optional, Sequence, Union

from runyard.beside import uv_program
from runyard.errors import PathRefusedError, RunyardError, UserErrorException
from runyard.event_files import is_event_file
from runyard.notices import say_once
from runyard.protocol.status import RunStatus
from runyard.run_files import log_pieces
from runyard.transfer import contained, list_run_files

if TYPE_CHECKING:
    from runyard.run import Run

_FOLDERS = ("logs/", "outputs/")  # where scripts write: not part of what TensorBoard calls a run
_EVERY_S = 5.0
_START_S = 300.0  # it imports TensorFlow where that is installed, and uv may have to fetch it
_END_S = 10.0
_HOST = "127.0.0.1"
# It ends with whoever started it, however that ended: the other end of its standard input is closed then.
_START = """\
import os, sys, threading
sys.path[:] = [place for place in sys.path if place]
threading.Thread(target=lambda: (os.read(0, 1), os._exit(0)), daemon=True).start()
from runpy import run_module
sys.argv[0] = "tensorboard"
run_module("tensorboard.main", run_name="__main__", alter_sys=True)
"""


class Tensorboard:
    """TensorBoard over the event files of runs: ``start()`` gives its address, ``stop()`` ends it.

    Of each run the event files, and what plug-ins keep beside them, are fetched to ``<local_root>/<run id>``, and what
    is added to them for as long as the run goes on. TensorBoard is that of this interpreter; where it has none, uv
    fetches one.

    Args:
        runs: a run, or several; none where ``local_root`` holds what is to be seen.
        local_root: the folder for the files, which stay there. By default a temporary one, which goes with ``stop()``.
        port: where it listens, on this machine alone.
        use_display_name: a run's folder has its display name instead of its id, where no other run here has that.
        python: an interpreter with TensorBoard in it, instead. Not in Azure ML.
    Raises:
        UserErrorException: something that is no run; no run, and no folder; or no port.
    """

    def __init__(
        self,
        runs: "Union[Run, Sequence[Run]]",
        local_root: Optional[str] = None,
        port: int = 6006,
        use_display_name: bool = False,
        python: Optional[str] = None,
    ) -> None:
        from runyard.run import Run

        self._runs: List[Run] = [runs] if isinstance(runs, Run) else list(runs)
        wrong = [each for each in self._runs if not isinstance(each, Run)]
        if wrong or not (self._runs or local_root):
            raise UserErrorException(
                "Tensorboard takes runs, at least one, or a folder of event files: Tensorboard([], local_root=...). "
                "This is {!r:.200}.".format(wrong or runs)
            )
        self._given_root = os.path.abspath(local_root) if local_root else None
        self._root = self._given_root or ""
        self._port = int(port)
        if not 1 <= self._port <= 65535:
            raise UserErrorException("TensorBoard listens at a port from 1 to 65535, not {}.".format(port))
        self._python = python
        self._by_display_name = use_display_name
        self._folders: Dict[str, str] = {}  # by run; a run that is called otherwise meanwhile stays where it is
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._following: Optional[threading.Thread] = None
        self._ending = threading.Event()

    def start(self, start_browser: bool = False) -> str:
        """Fetches what is there, starts TensorBoard, and gives its address once it answers.

        Raises:
            UserErrorException: there is neither TensorBoard nor uv, or the port is taken; says what to do.
            RunyardError: it ended at once; says why.
        """
        if self._process is None:
            command = _program(self._python)
            if _answers(self._port):
                raise UserErrorException(
                    "Port {0} is in use. Stop what listens there, or give another: Tensorboard(runs, port={1}).".format(
                        self._port, self._port + 1
                    )
                )
            self._ending = threading.Event()
            self._root = self._given_root or tempfile.mkdtemp(prefix="runyard-tensorboard-")
            atexit.register(self.stop)
            try:
                os.makedirs(self._root, exist_ok=True)
                self._folders = self._named()
                self._fetch(self._runs)
                self._launch(command)
            except BaseException:
                self.stop()
                raise
            self._following = threading.Thread(target=self._follow, name="runyard-tensorboard", daemon=True)
            self._following.start()
        address = "http://localhost:{}/".format(self._port)
        print(address)
        if start_browser:
            import webbrowser

            webbrowser.open(address)
        return address

    def wait(self) -> int:
        """Waits until TensorBoard ends; gives its exit code. Not in Azure ML."""
        return 0 if self._process is None else self._process.wait()

    def stop(self) -> None:
        """Ends TensorBoard. Files in a folder that was given stay."""
        self._ending.set()
        process, self._process = self._process, None
        if process is not None:
            _end(process)
        if self._following is not None:
            self._following.join()
            self._following = None
        if self._given_root is None and self._root:
            shutil.rmtree(self._root, ignore_errors=True)
            self._root = ""
        atexit.unregister(self.stop)

    def _launch(self, command: List[str]) -> None:
        with tempfile.TemporaryFile() as said:
            try:
                self._process = process = subprocess.Popen(
                    [*command, "--logdir", self._root, "--host", _HOST, "--port", str(self._port)],
                    stdin=subprocess.PIPE,
                    stdout=said,
                    stderr=said,
                    start_new_session=True,  # Ctrl+C is for us, who end it
                )
            except OSError as fault:
                raise UserErrorException("{} cannot be started: {}.".format(command[0], fault.strerror)) from None
            deadline = time.monotonic() + _START_S
            while not _answers(self._port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RunyardError("TensorBoard did not start. It said:\n{}".format(_end_of(said)))
                time.sleep(0.05)

    def _follow(self) -> None:
        """Fetches until all runs have ended, or TensorBoard has been stopped."""
        going = list(self._runs)
        while going and not self._ending.wait(_EVERY_S):
            left = []
            for run in going:
                try:
                    # Asked before: what a run wrote until its end is fetched once more when it has ended.
                    has_ended = RunStatus(run.get_status()).is_terminal
                    self._fetch([run])
                except (RunyardError, OSError) as trouble:
                    has_ended = False
                    say_once(
                        "TensorBoard's files of {} are not fetched now, and tried again: {}".format(run.id, trouble)
                    )
                if not has_ended:
                    left.append(run)
            going = left

    def _fetch(self, runs: "Sequence[Run]") -> None:
        for run in runs:
            folder = os.path.join(self._root, self._folders[run.id])
            for name, size in _sizes(run).items():
                if self._ending.is_set():
                    return
                try:
                    path = contained(folder, local_name(name))
                except PathRefusedError as refused:
                    say_once("{} of {} is not shown: {}".format(name, run.id, refused))
                    continue
                if size > _size(path):
                    _grow(run, name, path, self._ending)

    def _named(self) -> Dict[str, str]:
        """The folder of each run, by its id."""
        names = {run.id: _as_folder(run.display_name) if self._by_display_name else "" for run in self._runs}
        often = Counter([*names.values(), *names])  # an id is somebody's name already
        return {run_id: name if name and often[name] == 1 else run_id for run_id, name in names.items()}


def _as_folder(name: Optional[str]) -> str:
    return (name or "").replace("/", "_").replace("\\", "_").strip(". ~")


def local_name(name: str) -> str:
    """What an event file of a run is called without the folder that scripts write to."""
    for folder in _FOLDERS:
        if name.startswith(folder):
            return name[len(folder) :]
    return name


def _sizes(run: "Run") -> Dict[str, int]:
    """How large each file of the run is that TensorBoard reads, as far as it is there."""
    found = {entry.path: entry.size for entry in list_run_files(run._transport, run.id)}
    for log in run._call("GET", "logs"):
        found[log["name"]] = max(found.get(log["name"], 0), log["size"])
    return {name: size for name, size in found.items() if is_event_file(name) or "/plugins/" in name}


def _grow(run: Any, name: str, path: str, ending: threading.Event) -> None:
    """Adds to a file what the run's file of that name has beyond it: event files are only ever added to.

    Each piece is written to its own place: another TensorBoard may fill the same folder.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    with open(descriptor, "r+b") as file:
        file.seek(0, os.SEEK_END)
        for piece in log_pieces(run, name, file.tell()):
            file.write(piece)
            if ending.is_set():
                return


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1  # an empty file is one, too


def _program(python: Optional[str]) -> List[str]:
    """How TensorBoard is called, without its options."""
    if python is not None:
        return [os.path.abspath(python) if os.sep in python else python, "-c", _START]
    found = importlib.util.find_spec("tensorboard")
    if found is not None and found.origin is not None:  # else it is a folder of that name
        return [sys.executable, "-c", _START]
    uv = uv_program()
    if uv is None:
        raise UserErrorException(
            "There is no TensorBoard in this Python, and no uv to fetch it. Install it ({} -m pip install "
            "tensorboard).".format(sys.executable)
        )
    say_once("There is no TensorBoard in this Python; uv fetches one.")
    return [*uv, "run", "--quiet", "--isolated", "--no-project", "--with", "tensorboard", "python", "-c", _START]


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ends the program with all that it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
    assert process.stdin is not None
    process.stdin.close()


def _end_of(said: IO[bytes]) -> str:
    said.seek(0)
    return said.read().decode("utf-8", "replace")[-2000:].strip()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((_HOST, port)) == 0
