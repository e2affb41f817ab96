"""Browsers at a server, and one with files and code: made once, since none of its tests changes what another one sees."""

from collections.abc import Iterator

import pytest

from runyard.protocol.files import FileEntry, Manifest
from runyard.protocol.runs import InteractiveRunSpec, RunRecord
from runyard_server.app import Server, build
from runyard_server.artifacts.store import digest_of
from runyard_server.services.pages import cookie_name
from runyard_server.settings import Secrets, Settings
from runyard_server.testing.client import Client
from runyard_server.testing.clock import FakeClock
from runyard_server.testing.fresh_home import fresh_home

ADDRESS = "http://127.0.0.1:8000"
COOKIE = cookie_name("127.0.0.1:8000")
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Origin": ADDRESS, "Sec-Fetch-Site": "same-origin"}


class Shelf:
    """A server, a reader's browser, and runs with files and code."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.visitor = Client(server.app, ADDRESS)
        self.visitor.cookies.set(COOKIE, server.services.tokens.ticket())
        self._scratch = server.services.logs.path("scratch", "x")
        self._scratch.parent.mkdir(parents=True)
        self._keeper = self.run()

    def run(self, **known: object) -> RunRecord:
        return self.server.services.runs.start_interactive(InteractiveRunSpec("shelf", **known), "user")  # type: ignore[arg-type]

    def put(self, run: RunRecord, path: str, content: bytes) -> None:
        self._scratch.write_bytes(content)
        self.server.services.files.adopt_file(run.id, path, self._scratch)

    def snapshot(self, files: dict[str, bytes]) -> str:
        entries = []
        for place, (path, content) in enumerate(files.items()):
            self.put(self._keeper, f"outputs/{place}-{path}", content)  # its bytes are in the store now
            entries.append(FileEntry(path, len(content), digest_of(self._scratch)))
        made = self.server.services.snapshots.create(Manifest(entries))
        assert made.id is not None
        return made.id


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    home = fresh_home(tmp_path_factory.mktemp("home"))
    built = build(Settings(home=home, environments=home / "e"), Secrets("own", b"k" * 32), lambda: ADDRESS, FakeClock())
    built.services.datastores.ensure_defaults()
    yield Shelf(built)
    built.close()


@pytest.fixture
def visitor(server: Server) -> Client:
    """A browser that has opened a page's address before."""
    client = Client(server.app, ADDRESS)
    client.cookies.set(COOKIE, server.services.tokens.ticket(), domain="127.0.0.1", path="/")
    return client


@pytest.fixture
def operator(visitor: Client) -> Client:
    """A browser that has shown the workspace's token."""
    assert visitor.post("/settings/unlock", content="token=own-token", headers=FORM).status_code == 303
    return visitor
