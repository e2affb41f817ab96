"""Tensorboard: TensorBoard beside runs, fed with what they write below ``logs`` while they go on."""

import atexit
import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any, List, Optional, Sequence, Union

from runyard.errors import RunyardError, UserErrorException
from runyard.notices import say_once
from runyard.protocol.status import RunStatus
from runyard.run_files import log_pieces
from runyard.transfer import contained

if TYPE_CHECKING:
    from runyard.run import Run

_LOGS = "logs/"
_EVERY_S = 5.0
_START_S = 300.0  # it imports TensorFlow where that is installed
_HOST = "127.0.0.1"


class Tensorboard:
    """TensorBoard over the event files of runs: ``start()`` gives its address, ``stop()`` ends it.

    It is the ``tensorboard`` package of this interpreter. Of each run the files below ``logs`` are fetched to
    ``<local_root>/<run id>``, and what is added to them for as long as the run goes on.

    Args:
        runs: a run, or several.
        local_root: the folder for the files; a temporary one by default.
        port: where it listens, on this machine alone.
    Raises:
        UserErrorException: something that is no run.
    """

    def __init__(self, runs: "Union[Run, Sequence[Run]]", local_root: Optional[str] = None, port: int = 6006) -> None:
        from runyard.run import Run

        self._runs: List[Run] = [runs] if isinstance(runs, Run) else list(runs)
        wrong = [each for each in self._runs if not isinstance(each, Run)]
        if wrong or not self._runs:
            raise UserErrorException("Tensorboard takes runs, at least one; this is {!r}.".format(wrong or runs))
        self._root = os.path.abspath(local_root or tempfile.mkdtemp(prefix="runyard-tensorboard-"))
        self._port = int(port)
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._ending = threading.Event()

    def start(self, start_browser: bool = False) -> str:
        """Fetches what is there, starts TensorBoard, and gives its address once it answers.

        Raises:
            UserErrorException: this interpreter has no TensorBoard, or the port is taken.
            RunyardError: it ended at once; says why.
        """
        if self._process is None:
            if importlib.util.find_spec("tensorboard") is None:
                raise UserErrorException(
                    "There is no TensorBoard in this Python. Install it ({} -m pip install tensorboard).".format(
                        sys.executable
                    )
                )
            if _answers(self._port):
                raise UserErrorException(
                    "Port {0} is in use. Stop what listens there, or give another: Tensorboard(runs, port={1}).".format(
                        self._port, self._port + 1
                    )
                )
            self._fetch(self._runs)
            self._launch()
            threading.Thread(target=self._follow, name="runyard-tensorboard", daemon=True).start()
        address = "http://localhost:{}/".format(self._port)
        print(address)
        if start_browser:
            import webbrowser

            webbrowser.open(address)
        return address

    def stop(self) -> None:
        """Ends TensorBoard; the files stay."""
        self._ending.set()
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None
            atexit.unregister(self.stop)

    def _launch(self) -> None:
        self._ending = threading.Event()
        said = os.path.join(self._root, "tensorboard.txt")
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", self._root, "--host", _HOST]
        with open(said, "wb") as log:
            process = subprocess.Popen(
                [*command, "--port", str(self._port)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._process = process
        atexit.register(self.stop)
        deadline = time.monotonic() + _START_S
        while not _answers(self._port):
            if process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                with open(said, errors="replace") as file:
                    raise RunyardError("TensorBoard did not start. It said:\n{}".format(file.read()[-2000:].strip()))
            time.sleep(0.05)

    def _follow(self) -> None:
        """Fetches until all runs have ended, or TensorBoard has been stopped."""
        ending = self._ending
        going = list(self._runs)
        while going and not ending.wait(_EVERY_S):
            try:
                # Asked before: what a run wrote until its end is fetched once more when it has ended.
                left = [run for run in going if not RunStatus(run.get_status()).is_terminal]
                self._fetch(going)
                going = left
            except (RunyardError, OSError) as trouble:
                say_once("TensorBoard's files are not fetched now, and tried again: {}".format(trouble))

    def _fetch(self, runs: Sequence[Any]) -> None:
        for run in runs:
            folder = os.path.join(self._root, run.id)
            os.makedirs(folder, exist_ok=True)
            for name in run.get_file_names():
                if name.startswith(_LOGS):
                    _grow(run, name, contained(folder, name[len(_LOGS) :]))


def _grow(run: Any, name: str, path: str) -> None:
    """Adds to a file what the run's file of that name has beyond it: event files are only ever added to."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "ab") as file:
        for piece in log_pieces(run, name, file.tell()):
            file.write(piece)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((_HOST, port)) == 0
