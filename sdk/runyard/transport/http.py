"""HTTP over the standard library: one kept connection per thread, bounded retries.

Every request of the API may be sent twice without harm (writes carry offsets, digests or ids), so
a broken connection is retried for all methods.
"""

import http.client
import os
import random
import socket
import threading
import time
from typing import Callable, Dict, Iterator, Optional
from urllib.parse import urlsplit

from runyard.errors import ServerUnavailableError
from runyard.transport.base import Answer, Body, Transport

_BROKEN = (http.client.HTTPException, OSError)
_BLOCK = 1 << 20


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
        attempt = 0
        repeatable = body is None or isinstance(body, bytes)
        while True:
            try:
                answer = self._once(method, path, body, headers, stream, timeout_s)
            except _BROKEN as broken:
                self.close()
                if attempt and self._revive is not None:
                    self._revive()
                if not repeatable or time.monotonic() >= deadline:
                    raise ServerUnavailableError(
                        "No runyard server answers at {} ({}). Start it with `runyard up`, or see `runyard status`.".format(
                            self._address(), str(broken) or type(broken).__name__
                        )
                    ) from broken
                # A kept connection that the server had closed is the common case: the first retry is at once.
                pause = min(0.05 * 2**attempt, 2.0) * (0.5 + random.random() / 2) if attempt else 0.0
            else:
                if answer.status != 429 or not repeatable or time.monotonic() >= deadline:
                    return answer
                with answer:
                    answer.whole()
                pause = float(answer.headers.get("retry-after", "1")) * (0.5 + random.random())
            attempt += 1
            if pause:
                time.sleep(min(pause, max(0.0, deadline - time.monotonic())))

    def with_token(self, token: Optional[str], revives: bool = True) -> "HttpTransport":
        said = self._token if token is None else lambda: token or ""
        revive = self._revive if revives else None
        return HttpTransport(self._address, said, self._patience_s, self._timeout_s, revive)

    def close(self) -> None:
        self._kept.held = None

    def _once(
        self,
        method: str,
        path: str,
        body: Optional[Body],
        headers: Dict[str, str],
        stream: bool,
        timeout_s: Optional[float],
    ) -> Answer:
        timeout = self._timeout_s if timeout_s is None else timeout_s
        # A streamed answer keeps its connection busy for long, so it gets one of its own.
        connection = self._open(timeout) if stream else self._reuse(timeout)
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
        return Answer(response.status, names, _Owned(response, connection) if stream else response)  # type: ignore[arg-type]

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
        if held is None or held.address != address or held.pid != os.getpid():
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

    def __del__(self) -> None:
        self.connection.close()


class _Owned:
    """A response that closes its connection with itself."""

    def __init__(self, response: http.client.HTTPResponse, connection: http.client.HTTPConnection) -> None:
        self._response, self._connection = response, connection
        self.read = response.read
        self.readinto = response.readinto
        self.readline = response.readline

    def close(self) -> None:
        self._response.close()
        self._connection.close()
