"""A package index of its own, served over HTTP: what may go wrong with a real one goes wrong here when a test says so.

It speaks the simple API (PEP 503, 592, 658, 691, 700) over a folder of wheels and source archives.
"""

import hashlib
import json
import threading
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from runyard_server.testing.wheels import make_source, make_wheel


@dataclass
class Refusal:
    """Answers that are not given: requests of paths that hold ``part`` get ``status``, so many ``times``."""

    status: int
    part: str
    times: int


class PackageIndex:
    """Serves the wheels below ``folder`` at ``url`` until ``stop``.

    Attributes:
        asked: the path of each request that was answered, in order.
    """

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        self._folder = folder
        self._uploaded: dict[str, str] = {}
        self._yanked: dict[str, str] = {}
        self._refusals: list[Refusal] = []
        self._kept: dict[str, tuple[int, str, bytes]] = {}
        self._guard = threading.Lock()
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self.start()

    @property
    def url(self) -> str:
        """What goes into ``--index-url``."""
        return f"http://127.0.0.1:{self._port}/simple/"

    def start(self) -> None:
        """Listens: the first time at any port, then at the same one again."""
        index = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status, kind, body = index.answer(self.path)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

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

    def publish(
        self,
        name: str,
        version: str,
        requires: Sequence[str] = (),
        content: str = "",
        uploaded_at: str = "2026-01-01T00:00:00Z",
    ) -> Path:
        """Adds a wheel, or puts other bytes in the place of one that has this name and version."""
        wheel = make_wheel(self._folder, name, version, requires, content)
        self._uploaded[wheel.name] = uploaded_at
        return wheel

    def publish_source(self, name: str, version: str, setup: str) -> Path:
        """Adds an archive of source with this ``setup.py``, or puts other bytes in its place."""
        return make_source(self._folder, name, version, setup)

    def yank(self, wheel: Path, reason: str) -> None:
        """Marks a file as one that nobody should choose any more; it is still served (PEP 592)."""
        self._yanked[wheel.name] = reason

    def withdraw(self, wheel: Path) -> None:
        """Deletes a file."""
        wheel.unlink()

    def refuse(self, status: int, times: int, part: str = "") -> None:
        """The next ``times`` requests whose path holds ``part`` are answered with ``status``."""
        with self._guard:
            self._refusals.append(Refusal(status, part, times))

    def keep(self, path: str, answer: tuple[int, str, bytes]) -> None:
        """Gives ``answer`` for ``path`` from now on, whatever lies in the folder: an index behind its own files."""
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
        if path in self._kept:
            return self._kept[path]
        kind, _, name = path.strip("/").partition("/")
        wheel = self._folder / name.removesuffix(".metadata")
        if kind == "files" and wheel.is_file():
            content = wheel.read_bytes() if name == wheel.name else _metadata(wheel)
            return 200, "application/octet-stream", content
        wheels = self._files_of(name) if kind == "simple" else []
        if not wheels:
            return 404, "text/plain", b"not found"
        page = {"meta": {"api-version": "1.1"}, "name": name, "files": [self._entry(wheel) for wheel in wheels]}
        return 200, "application/vnd.pypi.simple.v1+json", json.dumps(page).encode()

    def _files_of(self, name: str) -> list[Path]:
        stem = name.replace("-", "_")
        return sorted([*self._folder.glob(f"{stem}-*.whl"), *self._folder.glob(f"{stem}-*.tar.gz")])

    def _entry(self, wheel: Path) -> dict[str, object]:
        content = wheel.read_bytes()
        is_wheel = wheel.suffix == ".whl"
        return {
            "filename": wheel.name,
            "url": f"/files/{wheel.name}",
            "hashes": {"sha256": hashlib.sha256(content).hexdigest()},
            "core-metadata": {"sha256": hashlib.sha256(_metadata(wheel)).hexdigest()} if is_wheel else False,
            "size": len(content),
            "upload-time": self._uploaded.get(wheel.name, "2026-01-01T00:00:00Z"),
            "yanked": self._yanked.get(wheel.name, False),
        }


def _metadata(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return archive.read(name)
