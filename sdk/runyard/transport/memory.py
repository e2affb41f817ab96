"""A transport straight into an ASGI application of the same process: the whole stack without a socket."""

import asyncio
import io
import queue
import threading
from typing import Any, Awaitable, BinaryIO, Callable, Dict, Iterator, Optional
from urllib.parse import unquote

from runyard.errors import ServerUnavailableError
from runyard.transport.base import Answer, Body, Transport

_PIECE = 1 << 20
_AHEAD = 8  # pieces that an answer may be ahead of its reader

Application = Callable[
    [Dict[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]
]


class MemoryTransport(Transport):
    """Speaks ASGI with ``app`` on an event loop in a thread of its own.

    Args:
        app: the application; it is started and stopped by the lifespan protocol.
        token: bearer token of every request.
        client: the address that the application sees its client at.
    """

    def __init__(self, app: Application, token: str = "", client: str = "127.0.0.1") -> None:
        self._app, self._token, self._client = app, token, client
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="runyard-memory", daemon=True)
        self._thread.start()
        self._lifespan = _Lifespan(app, self._loop)
        self._lifespan.start()

    def send(
        self,
        method: str,
        path: str,
        body: Optional[Body],
        headers: Dict[str, str],
        stream: bool,
        timeout_s: Optional[float],
    ) -> Answer:
        """As every transport's. Raises ServerUnavailableError where the application breaks before it answers."""
        target, _, query = path.partition("?")
        named = dict(headers, Host="memory", Authorization="Bearer " + self._token)
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(target),
            "raw_path": target.encode("ascii"),
            "root_path": "",
            "query_string": query.encode("ascii"),
            "headers": [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in named.items()],
            "client": (self._client, 1),
            "server": ("memory", 80),
        }
        exchange = _Exchange(self._loop, _pieces(body))
        asyncio.run_coroutine_threadsafe(exchange.run(self._app, scope), self._loop)
        answer = exchange.answer(timeout_s)
        if stream:
            return answer
        with answer:
            return Answer(answer.status, answer.headers, io.BytesIO(answer.whole()))

    def close(self) -> None:
        """Stops the application and the event loop; the transport cannot be used again."""
        if self._loop.is_closed():
            return
        self._lifespan.stop()
        asyncio.run_coroutine_threadsafe(_end_others(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _Exchange:
    """One request and its answer: the application runs on the loop, the caller reads in its own thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pieces: Iterator[bytes]) -> None:
        self._loop, self._pieces = loop, pieces
        self._sent: queue.Queue[Any] = queue.Queue()
        self._room = threading.Semaphore(_AHEAD)
        self._closed = threading.Event()
        self._body_done = False
        self._gone: Optional[asyncio.Event] = None

    async def run(self, app: Application, scope: Dict[str, Any]) -> None:
        self._gone = asyncio.Event()  # made here, since before Python 3.10 it belongs to the loop that it is made on
        try:
            await app(scope, self._receive, self._send)
            await self._put(None)
        except Exception as broken:  # its reader is told
            await self._put(broken)

    async def _receive(self) -> Dict[str, Any]:
        if self._body_done:
            assert self._gone is not None
            await self._gone.wait()
            return {"type": "http.disconnect"}
        piece = await self._loop.run_in_executor(None, next, self._pieces, None)
        self._body_done = piece is None
        return {"type": "http.request", "body": piece or b"", "more_body": not self._body_done}

    async def _send(self, message: Dict[str, Any]) -> None:
        if self._closed.is_set():
            raise OSError("the reader of this answer is gone")
        await self._put(message)

    async def _put(self, item: Any) -> None:
        if not self._room.acquire(blocking=False) and not self._closed.is_set():
            await self._loop.run_in_executor(None, self._room.acquire)
        self._sent.put(item)

    def answer(self, timeout_s: Optional[float]) -> Answer:
        start = self._next(timeout_s)
        if start is None:
            raise ServerUnavailableError("The application ended without an answer.")
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start["headers"]}
        return Answer(start["status"], headers, io.BufferedReader(_Reader(self), _PIECE))

    def body(self) -> bytes:
        """The next bytes of the answer, b"" at its end."""
        while True:
            message = self._next(None)
            if message is None:
                return b""
            if message["type"] == "http.response.body" and message.get("body"):
                return bytes(message["body"])

    def _next(self, timeout_s: Optional[float]) -> Any:
        try:
            item = self._sent.get(timeout=timeout_s)
        except queue.Empty:
            raise ServerUnavailableError("The application did not answer within {} s.".format(timeout_s)) from None
        self._room.release()
        if isinstance(item, BaseException):
            raise ServerUnavailableError("The application broke: {!r}.".format(item)) from item
        return item

    def close(self) -> None:
        self._closed.set()
        self._room.release()  # for an application that waits for its reader
        if self._gone is not None:
            self._loop.call_soon_threadsafe(self._gone.set)


class _Reader(io.RawIOBase):
    """The answer's body as a file."""

    def __init__(self, exchange: _Exchange) -> None:
        super().__init__()
        self._exchange = exchange
        self._left = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left and not self._ended:
            self._left = memoryview(self._exchange.body())
            self._ended = not self._left
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def close(self) -> None:
        if not self.closed:
            self._exchange.close()
        super().close()


class _Lifespan:
    """Starts and stops an application; one that does not know the protocol is left alone."""

    def __init__(self, app: Application, loop: asyncio.AbstractEventLoop) -> None:
        self._app, self._loop = app, loop
        self._to_app: queue.Queue[Dict[str, Any]] = queue.Queue()
        self._from_app: queue.Queue[Any] = queue.Queue()

    def start(self) -> None:
        self._task = asyncio.run_coroutine_threadsafe(self._run(), self._loop)
        self._tell("startup")

    def stop(self) -> None:
        self._tell("shutdown")

    def _tell(self, what: str) -> None:
        self._to_app.put({"type": "lifespan." + what})
        answer = self._from_app.get()
        if answer is not None and answer["type"].endswith(".failed"):
            raise ServerUnavailableError("The application failed at {}: {}".format(what, answer.get("message", "")))

    async def _run(self) -> None:
        async def receive() -> Dict[str, Any]:
            return await self._loop.run_in_executor(None, self._to_app.get)

        async def send(message: Dict[str, Any]) -> None:
            self._from_app.put(message)

        try:
            await self._app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
        finally:
            # Once for whoever waits for the start, once for whoever waits for the end.
            self._from_app.put(None)
            self._from_app.put(None)


async def _end_others() -> None:
    """Ends what still runs on the loop."""
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_event_loop().shutdown_asyncgens()


def _pieces(body: Optional[Body]) -> Iterator[bytes]:
    if body is None:
        return iter(())
    if isinstance(body, bytes):
        return iter((body,))
    if hasattr(body, "read"):
        source: BinaryIO = body  # type: ignore[assignment]
        return iter(lambda: source.read(_PIECE), b"")
    return iter(body)
