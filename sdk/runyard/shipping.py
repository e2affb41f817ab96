"""Growing files on their way to the server: metrics and logs, from a remembered offset.

What the server has is only ever added to: every request says where its bytes begin, so a request
that is sent twice changes nothing, and one that would leave a gap is answered with the size that
is there, and shipping goes on from that.
"""

import os
import stat
import sys
import threading
import time
from typing import Callable, Dict, Iterator, List, Optional, Tuple, Union

from runyard.errors import (
    OffsetGapError,
    PathRefusedError,
    RunyardError,
    ServerUnavailableError,
    UserErrorException,
)
from runyard.spool import LINE_BYTES, LOST_SUFFIX, SUFFIX
from runyard.transport.base import Transport, url_path

REQUEST_BYTES = 1 << 20
PASS_BYTES = 4 << 20  # of one file in one pass, so that a flood of log does not keep metrics waiting
BUSY_S = 0.03
IDLE_S = 0.25
AWAY_S = 5.0


class Shipped:
    """What one pass did. True if bytes moved.

    Attributes:
        sent_bytes: bytes that the server took.
        complete: whether all that was seen is now stored (apart from files that it refused for good).
        reachable: whether the server answered; if not, come back later.
        trouble: the error that kept something back, None where nothing did.
    """

    def __init__(self) -> None:
        self.sent_bytes = 0
        self.complete = True
        self.reachable = True
        self.trouble: Optional[RunyardError] = None

    def __bool__(self) -> bool:
        return self.sent_bytes > 0

    def __repr__(self) -> str:
        return "Shipped(sent_bytes={}, complete={}, reachable={}, trouble={!r})".format(
            self.sent_bytes, self.complete, self.reachable, self.trouble
        )


class _Stream:
    """One file and how far it is shipped."""

    def __init__(self, name: str, is_metrics: bool) -> None:
        self.name = name  # "metrics/<writer>" or the log's path, as verify() counts them
        self.is_metrics = is_metrics
        self.offset = 0  # stored by the server
        self.size = 0  # of the file, when last seen
        self.file_id: Optional[Tuple[int, int]] = None
        self.unfinished_at = -1  # size at which the file's last line had no end
        self.blanks: List[Tuple[int, int]] = []
        self.refused: Optional[RunyardError] = None
        self.rewritten = False
        self.is_doubted = False  # whether the server still has what it had
        self.lost = 0  # bytes that a full disk kept from its file

    @property
    def is_behind(self) -> bool:
        """Whether bytes of it are still to be sent."""
        is_wanted = self.refused is None and not self.rewritten
        return is_wanted and (self.is_doubted or self.offset < self.size and self.unfinished_at != self.size)

    @property
    def written(self) -> int:
        return self.lost + (self.offset if self.unfinished_at == self.size else self.size)


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
        self._streams: Dict[str, _Stream] = {}
        self._held: Dict[str, int] = {}
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
                stream.is_doubted, stream.unfinished_at = True, -1

    def ship_metrics(self, writer: str, path: str) -> Shipped:
        """Sends the whole lines that are new in the spool file at ``path``."""
        shipped = Shipped()
        with self._turn:
            self._ship(self._stream("metrics/" + self.writer_name(writer), True), path, shipped)
        return shipped

    def ship_tree(self, folder: str, prefix: str = "") -> Shipped:
        """Sends what is new in every file below ``folder``, as log ``<prefix><path below folder>``."""
        shipped = Shipped()
        with self._turn:
            self._ship_tree(folder, prefix, shipped)
        return shipped

    def ship_once(self, directory: str) -> Shipped:
        """One pass over a job's directory: ``spool/*.metrics``, then all below ``logs/``.

        Raises nothing for a server that is away, refuses or is full: the answer tells it.
        """
        shipped = Shipped()
        with self._turn:
            spool = os.path.join(directory, "spool")
            behind: List[str] = []
            # The shorter name first: what a writer began anew (rank-0-2, rank-0-10) comes after what it left (rank-0).
            for name, path in sorted(_files(spool, deep=False), key=lambda file: (len(file[0]), file[0])):
                if name.endswith(SUFFIX) and shipped.reachable:
                    self._ship_metrics(name[: -len(SUFFIX)], path, behind, shipped)
                elif name.endswith(LOST_SUFFIX):
                    self._metrics(name[: -len(LOST_SUFFIX)]).lost = _size(path)
            for name, descriptor in list(self._held.items()):
                if shipped.reachable:
                    self._ship(self._stream(self.log_name(name), False), descriptor, shipped)
            self._ship_tree(os.path.join(directory, "logs"), "", shipped)
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

    def _ship_metrics(self, writer: str, path: str, behind: List[str], shipped: Shipped) -> None:
        """Ships one spool file, unless an earlier one of its writer's is ``behind``: a metric's points have an order."""
        if any(writer.startswith(earlier + "-") for earlier in behind):
            shipped.complete = False
            return
        stream = self._metrics(writer)
        self._ship(stream, path, shipped)
        if stream.is_behind:
            behind.append(writer)

    def _metrics(self, writer: str) -> _Stream:
        return self._stream("metrics/" + self.writer_name(writer), True)

    def _stream(self, name: str, is_metrics: bool) -> _Stream:
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = _Stream(name, is_metrics)
        return stream

    def _ship_tree(self, folder: str, prefix: str, shipped: Shipped) -> None:
        for name, path in _files(folder, deep=True):
            if not shipped.reachable:
                return
            if prefix + name not in self._held:
                self._ship(self._stream(self.log_name(prefix + name), False), path, shipped)

    def _ship(self, stream: _Stream, path: Union[str, int], shipped: Shipped) -> None:
        try:
            found = os.stat(path)
        except OSError:
            return
        if not stat.S_ISREG(found.st_mode):
            return
        file_id = (found.st_dev, found.st_ino)
        if found.st_size < stream.size or stream.file_id not in (None, file_id):
            stream.rewritten = True
        if stream.refused is not None or stream.rewritten:
            stream.size = found.st_size
            return
        known = stream.size in (stream.offset, stream.unfinished_at) and not stream.is_doubted
        if found.st_size == stream.size and known:
            return  # nothing new: the pass has cost one stat
        stream.size, stream.file_id = found.st_size, file_id
        try:
            with open(path, "rb", buffering=0, closefd=isinstance(path, str)) as file:
                self._send_new(stream, file, shipped)
        except ServerUnavailableError as away:
            shipped.reachable = shipped.complete = False
            shipped.trouble = away
        except (PathRefusedError, UnicodeEncodeError) as refusal:
            stream.refused = refusal if isinstance(refusal, RunyardError) else PathRefusedError(str(refusal))
            shipped.trouble = stream.refused
        except RunyardError as trouble:
            shipped.complete = False
            shipped.trouble = trouble
        except OSError as trouble:
            shipped.complete = False
            shipped.trouble = RunyardError("{} cannot be read: {}".format(path, trouble))

    def _send_new(self, stream: _Stream, file, shipped: Shipped) -> None:  # type: ignore[no-untyped-def]
        if stream.is_doubted:
            stream.offset = self._send(stream, 0, b"")  # nothing is sent: the answer tells what is stored
            stream.is_doubted = False
        until = stream.offset + PASS_BYTES
        while stream.offset < stream.size:
            if stream.offset >= until:
                shipped.complete = False
                return
            body = _piece(file, stream.offset, stream.size, stream.is_metrics)
            if not body:
                stream.unfinished_at = stream.size
                return
            before = stream.offset
            stream.offset = self._send(stream, before, _blanked(body, before, stream.blanks))
            shipped.sent_bytes += max(0, stream.offset - before)
        if stream.offset > stream.size:
            stream.refused = UserErrorException(
                "The server has more of {} than this file holds ({:,} bytes against {:,}): another file was shipped "
                "under the same name.".format(stream.name, stream.offset, stream.size)
            )
            shipped.trouble = stream.refused

    def _send(self, stream: _Stream, offset: int, body: bytes) -> int:
        """Sends one piece; gives the size that the server then has."""
        if stream.is_metrics:
            method, path = "POST", url_path("runs", self.run_id, "metrics")
            query = {"writer": stream.name[len("metrics/") :], "offset": offset}
        else:
            method, path = "PUT", url_path("runs", self.run_id, "logs", stream.name)
            query = {"offset": offset}
        try:
            with self.transport.request(method, path, query=query, body=body) as answer:
                return int(answer.json()["size"])
        except OffsetGapError as gap:
            size = int(gap.details["size"])
            if size >= offset:
                raise
            return size
        except UserErrorException as refusal:
            start = int(refusal.details.get("line_at", -1))
            blank = (start, start + int(refusal.details.get("line_bytes", 0)))
            if start < 0 or blank in stream.blanks:
                raise
            # A line that a full disk cut short: sent as spaces, so that the offsets stay what they are.
            stream.blanks.append(blank)
            sys.stderr.write("runyard: a line of {} is left out: {}\n".format(stream.name, refusal))
            return offset


def _piece(file, offset: int, size: int, whole_lines: bool) -> bytes:  # type: ignore[no-untyped-def]
    """At most REQUEST_BYTES from ``offset``, more only for one line that is longer; b"" if it has no end yet."""
    limit = REQUEST_BYTES
    while True:
        file.seek(offset)
        body = bytes(file.read(min(limit, size - offset)))
        if not whole_lines:
            return body
        end = body.rfind(b"\n") + 1
        if end:
            return body[:end]
        if limit > LINE_BYTES or limit >= size - offset:
            return b""
        limit *= 4


def _blanked(body: bytes, offset: int, blanks: List[Tuple[int, int]]) -> bytes:
    for start, end in blanks:
        start, end = max(start - offset, 0), min(end - offset, len(body))
        if start < end:
            body = body[:start] + b" " * (end - start) + body[end:]
    return body


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
