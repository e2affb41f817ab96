"""An HTTP server that misbehaves when a test says so."""

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Refusal:
    """Answers that are not given: requests of paths that hold ``part`` get ``status``, so many ``times``."""

    status: int
    part: str
    times: int


class MisbehavingServer:
    """Answers GET with what ``content`` gives, from its making until ``stop``.

    Attributes:
        asked: the path of each request that was answered, in order.
        credentials: the Authorization header of each of them, "" where there was none.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.credentials: list[str] = []
        self._refusals: list[Refusal] = []
        self._kept: dict[str, tuple[int, str, bytes]] = {}
        self._guard = threading.Lock()
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def content(self, path: str) -> tuple[int, str, bytes]:
        """(status, content type, body) of what lies at ``path``."""
        raise NotImplementedError

    def start(self) -> None:
        """Listens: the first time at any port, then at the same one again."""
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.credentials.append(self.headers.get("Authorization", ""))
                status, kind, body = server.answer(self.path)
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", kind)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    if self.command != "HEAD":
                        self.wfile.write(body)
                except ConnectionError:
                    self.close_connection = True  # whoever asked has heard enough from another answer

            do_HEAD = do_GET

            def log_message(self, format: str, *args: object) -> None:
                """``asked`` says it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Is away: connections are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def refuse(self, status: int, times: int, part: str = "") -> None:
        """The next ``times`` requests whose path holds ``part`` are answered with ``status``."""
        with self._guard:
            self._refusals.append(Refusal(status, part, times))

    def keep(self, path: str, answer: tuple[int, str, bytes]) -> None:
        """Gives ``answer`` for ``path`` from now on, whatever ``content`` says: a server behind its own files."""
        self._kept[path] = answer

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """(status, content type, body) for a request."""
        path = unquote(urlsplit(path).path)
        with self._guard:
            self.asked.append(path)
            for refusal in self._refusals:
                if refusal.times and refusal.part in path:
                    refusal.times -= 1
                    return refusal.status, "text/plain", b"not now"
        return self._kept[path] if path in self._kept else self.content(path)
