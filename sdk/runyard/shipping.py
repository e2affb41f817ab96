"""A job's growing files on their way to the server: metrics and logs, pass after pass over its directory."""

import os
import threading
import time
from typing import Callable, Dict, Iterator, List, Optional, Tuple, Union

from runyard.errors import RunyardError
from runyard.spool import HURRY, LOST_SUFFIX, SUFFIX
from runyard.stream import Stream
from runyard.transport.base import Transport

MUCH_BYTES = 128 << 10  # a piece of that size is worth its request whoever looks


class Shipped:
    """What one pass did. True if bytes moved.

    Attributes:
        sent_bytes: bytes that the server took.
        complete: whether all that was seen is now stored (apart from files that it refused for good, and what rests).
        reachable: whether the server answered; if not, come back later.
        trouble: the error that kept something back, None where nothing did.
        is_urgent: whether a script waits for what it has logged, so that nothing rested.
        rests_s: for how long nothing more is wanted of what was passed over because its rest lasts; 0 where nothing was.
    """

    def __init__(self) -> None:
        self.sent_bytes = 0
        self.complete = True
        self.reachable = True
        self.trouble: Optional[RunyardError] = None
        self.is_urgent = False
        self.rests_s = 0.0

    def __bool__(self) -> bool:
        return self.sent_bytes > 0

    def __repr__(self) -> str:
        return "Shipped(sent_bytes={}, complete={}, reachable={}, trouble={!r})".format(
            self.sent_bytes, self.complete, self.reachable, self.trouble
        )


class Shipper:
    """Ships one node's files of one attempt of a run. Threads may share it; passes take turns.

    Args:
        transport: to the server; its patience is how long a pass may hang on a server that is away.
        attempt: from the second on, stream and log names carry it, as each attempt writes files anew.
        wait: sleeps for that many seconds.
        monotonic: tells the time for deadlines.
    """

    def __init__(
        self,
        transport: Transport,
        run_id: str,
        attempt: int = 1,
        wait: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.transport = transport
        self.run_id = run_id
        self.attempt = attempt
        self._wait = wait
        self._monotonic = monotonic
        self._streams: Dict[str, Stream] = {}
        self._held: Dict[str, int] = {}
        self._rests_until: Dict[str, float] = {}  # by stream, as the server said with the last piece of it
        self._turn = threading.RLock()

    def log_name(self, name: str) -> str:
        """The log's name on the server: ``azureml-logs/x.txt``, later ``azureml-logs/attempt-2/x.txt``."""
        if self.attempt == 1:
            return name
        folder, slash, rest = name.rpartition("/")
        return "{}{}attempt-{}/{}".format(folder, slash, self.attempt, rest)

    def writer_name(self, writer: str) -> str:
        """The writer's name on the server."""
        return writer if self.attempt == 1 else "{}.attempt-{}".format(writer, self.attempt)

    @property
    def written(self) -> Dict[str, int]:
        """Bytes that this node wrote by stream ("metrics/<writer>", or a log's path), as last seen.

        Those that a full disk did not take are among them: no more can be stored than was kept.
        """
        return {name: stream.written for name, stream in list(self._streams.items())}

    @property
    def lost(self) -> Dict[str, int]:
        """Bytes by stream that were logged and are nowhere: this node's disk was full."""
        return {name: stream.lost for name, stream in list(self._streams.items()) if stream.lost}

    @property
    def refused(self) -> Dict[str, RunyardError]:
        """Streams that the server will never take, and why; they are not tried again."""
        return {name: stream.refused for name, stream in list(self._streams.items()) if stream.refused}

    @property
    def rewritten(self) -> List[str]:
        """Logs whose file was cut or replaced: a script's own file, say. The server keeps what it had of them."""
        return [name for name, stream in list(self._streams.items()) if stream.rewritten]

    def ship_log(self, name: str, path: str) -> Shipped:
        """Sends what is new in the log file at ``path``. ``name``: its path among the run's logs."""
        shipped = Shipped()
        with self._turn:
            self._ship(self._stream(self.log_name(name), False), path, shipped)
        return shipped

    def warnings(self) -> List[str]:
        """What the run is to be warned of: a sentence for each thing that is not, or not whole, in its history."""
        said = ["{} was not stored: {}".format(name, why) for name, why in self.refused.items()]
        for name, size in self.lost.items():
            said.append("{}: {:,} bytes that were logged are lost: the disk of the node was full.".format(name, size))
        for name in self.rewritten:
            if name.startswith("azureml-logs/"):  # below logs/ are the script's own files, which are stored whole
                said.append("{} was cut by the script: only what had been shipped before is kept.".format(name))
        return said

    def hold(self, name: str, descriptor: int) -> None:
        """From now on the log ``name`` is read from an open file: whatever a script does to its name, it is shipped."""
        self._held[name] = descriptor

    def doubt(self) -> None:
        """Asks anew, with the next pass, how much of each stream is stored.

        A server that was started again may have been given older records: a copy, or what a power failure left.
        """
        with self._turn:
            for stream in self._streams.values():
                stream.doubt()

    def ship_metrics(self, writer: str, path: str) -> Shipped:
        """Sends the whole lines that are new in the spool file at ``path``."""
        shipped = Shipped()
        with self._turn:
            self._ship(self._metrics(writer), path, shipped)
        return shipped

    def ship_tree(self, folder: str, prefix: str = "", patient: bool = False) -> Shipped:
        """Sends what is new in every file below ``folder``, as log ``<prefix><path below folder>``.

        Args:
            patient: as of ``ship_once``.
        """
        shipped = Shipped()
        with self._turn:
            self._ship_tree(folder, prefix, shipped, patient)
        return shipped

    def ship_once(self, directory: str, patient: bool = False) -> Shipped:
        """One pass over a job's directory: ``spool/*.metrics``, then all below ``logs/``.

        Raises nothing for a server that is away, refuses or is full: the answer tells it.

        Args:
            patient: what the server can do without for a while is passed over, unless a script waits for it.
        """
        shipped = Shipped()
        with self._turn:
            spool = os.path.join(directory, "spool")
            behind: List[str] = []
            # The shorter name first: what a writer began anew (rank-0-2, rank-0-10) comes after what it left (rank-0).
            spooled = sorted(_files(spool, deep=False), key=lambda file: (len(file[0]), file[0]))
            shipped.is_urgent = any(name == HURRY for name, _ in spooled)
            if shipped.is_urgent:
                _remove(os.path.join(spool, HURRY))
                patient = False
            for name, path in spooled:
                if name.endswith(SUFFIX) and shipped.reachable:
                    self._ship_metrics(name[: -len(SUFFIX)], path, behind, shipped, patient)
                elif name.endswith(LOST_SUFFIX):
                    self._metrics(name[: -len(LOST_SUFFIX)]).lost = _size(path)
            for name, descriptor in list(self._held.items()):
                if shipped.reachable:
                    self._ship(self._stream(self.log_name(name), False), descriptor, shipped, patient)
            self._ship_tree(os.path.join(directory, "logs"), "", shipped, patient)
        return shipped

    def drain(self, directory: str, timeout_s: float) -> Shipped:
        """Passes until all is stored or the time is up; gives the last pass."""
        deadline = self._monotonic() + timeout_s
        pause = 0.02
        while True:
            shipped = self.ship_once(directory)
            left = deadline - self._monotonic()
            if shipped.complete or left <= 0:
                return shipped
            if shipped:
                pause = 0.02
            else:
                self._wait(min(pause, left))
                pause = min(pause * 2, 1.0)

    def _ship_metrics(self, writer: str, path: str, behind: List[str], shipped: Shipped, patient: bool) -> None:
        """Ships one spool file, unless an earlier one of its writer's is ``behind``: a metric's points have an order."""
        if any(writer.startswith(earlier + "-") for earlier in behind):
            shipped.complete = False
            return
        stream = self._metrics(writer)
        is_passed_over = not self._ship(stream, path, shipped, patient)
        if stream.is_behind or is_passed_over and stream.waiting_bytes(path) > 0:
            behind.append(writer)

    def _metrics(self, writer: str) -> Stream:
        return self._stream("metrics/" + self.writer_name(writer), True)

    def _stream(self, name: str, is_metrics: bool) -> Stream:
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = Stream(self.transport, self.run_id, name, is_metrics)
        return stream

    def _ship_tree(self, folder: str, prefix: str, shipped: Shipped, patient: bool) -> None:
        for name, path in _files(folder, deep=True):
            if not shipped.reachable:
                return
            if prefix + name not in self._held:
                self._ship(self._stream(self.log_name(prefix + name), False), path, shipped, patient)

    def _ship(self, stream: Stream, path: Union[str, int], shipped: Shipped, patient: bool = False) -> bool:
        """Ships one stream; False where it is passed over, as its rest lasts."""
        left_s = self._rests_until.get(stream.name, 0.0) - self._monotonic() if patient else 0.0
        if left_s > 0.0 and stream.waiting_bytes(path) < MUCH_BYTES:
            shipped.rests_s = min(shipped.rests_s or left_s, left_s)
            return False
        before = shipped.sent_bytes
        stream.ship(path, shipped)
        if shipped.sent_bytes > before:
            self._rests_until[stream.name] = self._monotonic() + stream.rest_s
        return True


def _remove(path: str) -> None:
    try:
        os.remove(path)
    except OSError:
        pass  # the run's directory goes; or its disk takes no change: then nothing rests any more


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _files(folder: str, deep: bool) -> Iterator[Tuple[str, str]]:
    """Name below ``folder`` (with "/") and path of each file there, in order of name."""
    waiting = [("", folder)]
    while waiting:
        prefix, place = waiting.pop()
        try:
            with os.scandir(place) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if deep:
                    waiting.append((prefix + entry.name + "/", entry.path))
            else:
                yield prefix + entry.name, entry.path
