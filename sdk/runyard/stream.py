"""One growing file on its way to the server: a log, or a writer's metrics, from a remembered offset.

What the server has is only ever added to: every request says where its bytes begin, so a request
that is sent twice changes nothing, and one that would leave a gap is answered with the size that
is there, and shipping goes on from that.
"""

import os
import stat
import sys
from typing import IO, TYPE_CHECKING, List, Optional, Tuple, Union

from runyard.errors import (
    OffsetGapError,
    PathRefusedError,
    RunyardError,
    ServerUnavailableError,
    UserErrorException,
)
from runyard.spool import LINE_BYTES
from runyard.transport.base import Transport, url_path

if TYPE_CHECKING:
    from runyard.shipping import Shipped

REQUEST_BYTES = 1 << 20
PASS_BYTES = 4 << 20  # of one file in one pass, so that a flood of log does not keep metrics waiting


class Stream:
    """One file and how far it is shipped.

    Args:
        name: "metrics/<writer>" or the log's path, as verify() counts them.
        is_metrics: whether it is sent in whole lines, as metrics are.

    Attributes:
        refused: why the server will never take it.
        rewritten: whether the file was cut or replaced; what was shipped before is all that the server gets.
        lost: bytes that a full disk kept from the file.
        rest_s: for how long the server, which knows who looks, can do without the next piece.
    """

    def __init__(self, transport: Transport, run_id: str, name: str, is_metrics: bool) -> None:
        self.name = name
        self.rest_s = 0.0
        self.refused: Optional[RunyardError] = None
        self.rewritten = False
        self.lost = 0
        self._transport, self._run_id = transport, run_id
        self._is_metrics = is_metrics
        self._offset = 0  # stored by the server
        self._size = 0  # of the file, when last seen
        self._file_id: Optional[Tuple[int, int]] = None
        self._unfinished_at = -1  # size at which the file's last line had no end
        self._blanks: List[Tuple[int, int]] = []
        self._is_doubted = False  # whether the server still has what it had

    @property
    def is_behind(self) -> bool:
        """Whether bytes of it are still to be sent."""
        is_wanted = self.refused is None and not self.rewritten
        return is_wanted and (self._is_doubted or self._offset < self._size and self._unfinished_at != self._size)

    @property
    def written(self) -> int:
        """Bytes that were written to it as far as can be stored, and those that a full disk did not take."""
        return self.lost + (self._offset if self._unfinished_at == self._size else self._size)

    def waiting_bytes(self, path: Union[str, int]) -> int:
        """How much of the file is not stored, as far as can be seen without reading it."""
        try:
            return os.stat(path).st_size - self._offset
        except OSError:
            return 0

    def doubt(self) -> None:
        """Asks anew, when it is shipped next, how much of it is stored."""
        self._is_doubted, self._unfinished_at = True, -1

    def ship(self, path: Union[str, int], shipped: "Shipped") -> None:
        """Sends what is new in the file; what comes of it is noted in ``shipped``.

        Args:
            path: where it lies, or a descriptor that stays open.
        """
        try:
            found = os.stat(path)
        except OSError:
            return
        if not stat.S_ISREG(found.st_mode):
            return
        file_id = (found.st_dev, found.st_ino)
        if found.st_size < self._size or self._file_id not in (None, file_id):
            self.rewritten = True
        if self.refused is not None or self.rewritten:
            self._size = found.st_size
            return
        known = self._size in (self._offset, self._unfinished_at) and not self._is_doubted
        if found.st_size == self._size and known:
            return  # nothing new: the pass has cost one stat
        self._size, self._file_id = found.st_size, file_id
        try:
            with open(path, "rb", buffering=0, closefd=isinstance(path, str)) as file:
                self._send_new(file, shipped)
        except ServerUnavailableError as away:
            shipped.reachable = shipped.complete = False
            shipped.trouble = away
        except (PathRefusedError, UnicodeEncodeError) as refusal:
            self.refused = refusal if isinstance(refusal, RunyardError) else PathRefusedError(str(refusal))
            shipped.trouble = self.refused
        except RunyardError as trouble:
            shipped.complete = False
            shipped.trouble = trouble
        except OSError as trouble:
            shipped.complete = False
            shipped.trouble = RunyardError("{} cannot be read: {}".format(path, trouble))

    def _send_new(self, file: IO[bytes], shipped: "Shipped") -> None:
        if self._is_doubted:
            self._offset = self._send(0, b"")  # nothing is sent: the answer tells what is stored
            self._is_doubted = False
        until = self._offset + PASS_BYTES
        while self._offset < self._size:
            if self._offset >= until:
                shipped.complete = False
                return
            body = _piece(file, self._offset, self._size, self._is_metrics)
            if not body:
                self._unfinished_at = self._size
                return
            before = self._offset
            self._offset = self._send(before, _blanked(body, before, self._blanks))
            shipped.sent_bytes += max(0, self._offset - before)
        if self._offset > self._size:
            self.refused = UserErrorException(
                "The server has more of {} than this file holds ({:,} bytes against {:,}): another file was shipped "
                "under the same name.".format(self.name, self._offset, self._size)
            )
            shipped.trouble = self.refused

    def _send(self, offset: int, body: bytes) -> int:
        """Sends one piece; gives the size that the server then has."""
        if self._is_metrics:
            method, path = "POST", url_path("runs", self._run_id, "metrics")
            query = {"writer": self.name[len("metrics/") :], "offset": offset}
        else:
            method, path = "PUT", url_path("runs", self._run_id, "logs", self.name)
            query = {"offset": offset}
        try:
            with self._transport.request(method, path, query=query, body=body) as answer:
                said = answer.json()
            self.rest_s = float(said.get("rest_s", 0.0))
            return int(said["size"])
        except OffsetGapError as gap:
            size = int(gap.details["size"])
            if size >= offset:
                raise
            return size
        except UserErrorException as refusal:
            start = int(refusal.details.get("line_at", -1))
            blank = (start, start + int(refusal.details.get("line_bytes", 0)))
            if start < 0 or blank in self._blanks:
                raise
            # A line that a full disk cut short: sent as spaces, so that the offsets stay what they are.
            self._blanks.append(blank)
            sys.stderr.write("runyard: a line of {} is left out: {}\n".format(self.name, refusal))
            return offset


def _piece(file: IO[bytes], offset: int, size: int, whole_lines: bool) -> bytes:
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
