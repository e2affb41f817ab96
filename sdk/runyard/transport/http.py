"""HTTP over the standard library: one kept connection per thread, bounded retries.

Every request of the API may be sent twice without harm (writes carry offsets, digests or ids), so
a broken connection is retried for all methods.
"""

import collections.abc
import http.client
import io
import os
import random
import select
import socket
import threading
import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, Optional, Tuple, TypeVar
from urllib.parse import urlsplit

from runyard.errors import ServerUnavailableError
from runyard.transport.base import Answer, Body, Transport

_BROKEN = (http.client.HTTPException, OSError)
_BLOCK = 1 << 20
_BUSY_PATIENCE_S = 300.0  # a server that says when to come again lives: it is waited for longer than one that is gone
_Got = TypeVar("_Got", int, bytes)


class HttpTransport(Transport):
    """A transport to ``address()`` (a URL) with a bearer token.

    Args:
        address: gives the server's present URL; asked again after every failure, so that a server
            that came back elsewhere is found.
        token: gives the bearer token, likewise.
        patience_s: seconds to go on trying while no server answers.
        timeout_s: seconds to wait for a byte.
        revive: called after a second failure in a row: may start the server again.
    """

    def __init__(
        self,
        address: Callable[[], str],
        token: Callable[[], str],
        patience_s: float = 10.0,
        timeout_s: float = 120.0,
        revive: Optional[Callable[[], None]] = None,
    ) -> None:
        self._revive = revive
        self._address = address
        self._token = token
        self._patience_s = patience_s
        self._timeout_s = timeout_s
        self._kept = threading.local()

    def send(
        self,
        method: str,
        path: str,
        body: Optional[Body],
        headers: Dict[str, str],
        stream: bool,
        timeout_s: Optional[float],
    ) -> Answer:
        deadline = time.monotonic() + self._patience_s
        busy_deadline = time.monotonic() + (_BUSY_PATIENCE_S if self._patience_s else 0.0)
        attempt = 0
        repeatable = not isinstance(body, collections.abc.Iterator)  # an open file, say, would go on where it is
        timeout = self._timeout_s if timeout_s is None else timeout_s
        while True:
            connection = None
            try:
                # A streamed answer keeps its connection busy for long, so it gets one of its own.
                connection = self._open(timeout) if stream else self._reuse(timeout)
                answer = self._once(connection, method, path, body, headers, stream)
            except _BROKEN as broken:
                self.close()
                if attempt and self._revive is not None:
                    self._revive()
                    if attempt == 1:  # however long that took, what it brought is tried
                        deadline = max(deadline, time.monotonic() + 1.0)
                begun = connection is not None and not repeatable
                if begun or time.monotonic() >= deadline:
                    raise ServerUnavailableError(
                        "No runyard server answers at {} ({}). Start it with `runyard up`, or see `runyard status`.".format(
                            self._address(), str(broken) or type(broken).__name__
                        )
                    ) from broken
                # A kept connection that the server had closed is the common case: the first retry is at once.
                pause = min(0.05 * 2**attempt, 2.0) * (0.5 + random.random() / 2) if attempt else 0.0
                pause = min(pause, deadline - time.monotonic())
            else:
                if answer.status != 429 or not repeatable or time.monotonic() >= busy_deadline:
                    return answer
                answer.close()
                if not isinstance(body, bytes) and body is not None:
                    self.close()  # what of the body it had not read would be taken for a request
                # Not sooner than it said, and not all of a crowd at one moment.
                pause = _seconds(answer.headers.get("retry-after")) * (1.0 + random.random() / 2)
                pause = min(pause, busy_deadline - time.monotonic())
                deadline = max(deadline, time.monotonic() + pause + self._patience_s)  # it lives, and may go later
            attempt += 1
            if pause > 0:
                time.sleep(pause)

    def place(self) -> Tuple[str, str]:
        return self._address(), self._token()

    def with_token(self, token: Optional[str], revives: bool = True) -> "HttpTransport":
        said = self._token if token is None else lambda: token or ""
        revive = self._revive if revives else None
        return HttpTransport(self._address, said, self._patience_s, self._timeout_s, revive)

    def close(self) -> None:
        self._kept.held = None

    def _once(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: Optional[Body],
        headers: Dict[str, str],
        stream: bool,
    ) -> Answer:
        connection.putrequest(method, path, skip_accept_encoding=True)
        connection.putheader("Authorization", "Bearer " + self._token())
        for name, value in headers.items():
            connection.putheader(name, value)
        chunked = body is not None and "Content-Length" not in headers
        if chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        elif body is None and method not in ("GET", "HEAD"):
            connection.putheader("Content-Length", "0")
        if isinstance(body, bytes):
            connection.endheaders(body)
        else:
            connection.endheaders()
            if body is not None:
                self._stream(connection, body, chunked)
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        if stream:
            return Answer(response.status, names, _Owned(response, connection))  # type: ignore[arg-type]
        # Read now: an answer that breaks off is asked for again, and the connection is free for the next request.
        return Answer(response.status, names, io.BytesIO(response.read()))

    def _stream(self, connection: http.client.HTTPConnection, body: Body, chunked: bool) -> None:
        try:
            for piece in _pieces(body):
                if chunked:
                    piece = b"%x\r\n" % len(piece) + piece + b"\r\n" if piece else b""
                connection.send(piece)
            if chunked:
                connection.send(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            # The server refused before it had read everything; its answer says why.
            return

    def _reuse(self, timeout: float) -> http.client.HTTPConnection:
        held = getattr(self._kept, "held", None)
        address = self._address()
        # A process forked from this one must not speak through its parent's connection.
        if held is None or held.address != address or held.pid != os.getpid() or held.is_over():
            held = self._kept.held = _Held(self._open(timeout), address)
        elif held.connection.sock is not None:
            held.connection.sock.settimeout(timeout)
        connection: http.client.HTTPConnection = held.connection
        return connection

    def _open(self, timeout: float) -> http.client.HTTPConnection:
        parts = urlsplit(self._address())
        cls = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = cls(parts.hostname or "", parts.port, timeout=timeout)
        connection.connect()
        assert connection.sock is not None
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def _seconds(retry_after: Optional[str]) -> float:
    """What a Retry-After header says; 1 where it says nothing, or a date."""
    try:
        return max(0.0, float(retry_after or "1"))
    except ValueError:
        return 1.0


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except http.client.HTTPException as broken:
        raise ConnectionError("the server's answer broke off: {}".format(type(broken).__name__)) from broken


def _pieces(body: Body) -> Iterator[bytes]:
    """A body's bytes, a file's in blocks."""
    if isinstance(body, bytes):
        yield body
    elif hasattr(body, "read"):
        piece = body.read(_BLOCK)
        while piece:
            yield piece
            piece = body.read(_BLOCK)
    else:
        for piece in body:
            yield piece


class _Held:
    """A kept connection. It is closed with whatever holds it: a thread that ends leaves no socket open."""

    def __init__(self, connection: http.client.HTTPConnection, address: str) -> None:
        self.connection = connection
        self.address = address
        self.pid = os.getpid()

    def is_over(self) -> bool:
        """Whether the server has closed it, as it does with one that was idle: what is sent there is lost."""
        if self.connection.sock is None:
            return False  # it connects anew by itself
        waiting = select.poll()
        waiting.register(self.connection.sock, select.POLLIN | select.POLLHUP)
        return bool(waiting.poll(0))

    def __del__(self) -> None:
        self.connection.close()


class _Owned:
    """A response that closes its connection with itself, and says in our words that it broke off."""

    def __init__(self, response: http.client.HTTPResponse, connection: http.client.HTTPConnection) -> None:
        self._response, self._connection = response, connection

    def read(self, size: int = -1) -> bytes:
        with _telling():
            return self._checked(self._response.read(None if size < 0 else size), size)

    def readinto(self, buffer: Any) -> int:
        with _telling():
            return self._checked(self._response.readinto(buffer), len(buffer))

    def readline(self) -> bytes:
        with _telling():
            return self._checked(self._response.readline())

    def _checked(self, got: _Got, asked: int = -1) -> _Got:
        """``http.client`` takes a connection's end for the answer's where it is read piece by piece."""
        if not got and asked and self._response.length:
            raise http.client.IncompleteRead(b"", self._response.length)
        return got

    def close(self) -> None:
        self._response.close()
        self._connection.close()
