from collections.abc import Iterator
from pathlib import Path

import pytest

from runyard.errors import DatastoreException, PathRefusedError, StorageFullError, UserErrorException
from runyard.transport.memory import MemoryTransport
from runyard_server.testing.file_server import FileServer

RUN = "exp_1566000000_abcdef12"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    server = FileServer(tmp_path)
    server.add_run(RUN)
    page = tmp_path / "page"
    page.write_bytes(b"<script>alert(1)</script>")
    server.files.adopt_file(RUN, "outputs/so nice.html", page)
    page.write_bytes(b"")
    server.files.adopt_file(RUN, "outputs/empty", page)
    yield server
    server.close()


@pytest.fixture
def near(server: FileServer) -> Iterator[MemoryTransport]:
    transport = MemoryTransport(server.app)
    yield transport
    transport.close()


@pytest.fixture
def far(server: FileServer) -> Iterator[MemoryTransport]:
    transport = MemoryTransport(server.app, client="192.0.2.7")
    yield transport
    transport.close()


def test_a_file_is_saved_and_never_shown(near: MemoryTransport) -> None:
    with near.request("GET", f"/runs/{RUN}/files/outputs/so%20nice.html") as answer:
        assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''so%20nice.html"
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
        assert answer.headers["content-length"] == "25"
        assert answer.read() == b"<script>alert(1)</script>"


@pytest.mark.parametrize(
    ("asked", "status", "content"),
    [
        ("bytes=1-6", 206, b"script"),
        ("bytes=17-", 206, b"/script>"),
        ("bytes=17-9999", 206, b"/script>"),
        ("bytes=0-24", 200, b"<script>alert(1)</script>"),
        ("bytes=99-", 200, b"<script>alert(1)</script>"),
        ("bytes=-5", 200, b"<script>alert(1)</script>"),
        ("bytes=1-2,4-5", 200, b"<script>alert(1)</script>"),
        ("lines=1-2", 200, b"<script>alert(1)</script>"),
    ],
)
def test_part_of_a_file_may_be_asked_for(near: MemoryTransport, asked: str, status: int, content: bytes) -> None:
    path = f"/api/v1/runs/{RUN}/files/outputs/so%20nice.html"
    with near.send("GET", path, None, {"Range": asked}, False, None) as answer:
        assert (answer.status, answer.read()) == (status, content)


def test_an_empty_file_is_sent(near: MemoryTransport) -> None:
    with near.request("GET", f"/runs/{RUN}/files/outputs/empty") as answer:
        assert (answer.headers["content-length"], answer.read()) == ("0", b"")


@pytest.mark.parametrize("path", ["..%2f..%2frecords.db", "%2e%2e/%2e%2e/records.db", "%2fetc%2fpasswd"])
def test_a_path_that_is_not_in_the_run_gives_nothing(near: MemoryTransport, path: str) -> None:
    with pytest.raises(UserErrorException, match="has no file"):
        near.request("GET", f"/runs/{RUN}/files/{path}")


def test_a_datastore_s_folder_is_told_only_to_who_is_on_this_machine(
    near: MemoryTransport, far: MemoryTransport, tmp_path: Path
) -> None:
    assert near.call("GET", "/datastores/workspaceblobstore")["local_path"] == str(
        tmp_path / "datastores" / "workspaceblobstore"
    )
    told = far.call("GET", "/datastores/workspaceblobstore")
    assert (told["local_path"], told["settings"]) == (None, {})
    assert [item["local_path"] for item in far.call("GET", "/datastores")] == [None, None]


def test_no_place_of_the_server_can_be_attached_by_a_client(near: MemoryTransport) -> None:
    for path in ("/etc", "/", "//server/share", "http://192.0.2.1/x", "file:///etc"):
        with pytest.raises(DatastoreException, match="does not allow|absolute path"):
            near.call("POST", "/datastores", json={"name": "evil", "kind": "folder", "settings": {"path": path}})


def test_a_datastore_cannot_be_listed_or_read_outside_its_folder(near: MemoryTransport) -> None:
    with pytest.raises(PathRefusedError):
        near.call("GET", "/datastores/workspaceblobstore/files", query={"prefix": "../../objects/"})
    with pytest.raises(PathRefusedError):
        near.request("POST", "/datastores/workspaceblobstore/files/pack", json={"paths": ["../../records.db"]})


def test_a_body_that_does_not_fit_its_route_is_refused_with_its_place(near: MemoryTransport) -> None:
    with pytest.raises(UserErrorException, match="body"):
        near.call("POST", "/snapshots", json={"files": [{"path": "a"}]})
    with pytest.raises(UserErrorException, match="is no digest"):
        near.call("POST", "/objects/missing", json=["../../x"])


def test_more_than_the_disk_holds_is_refused_at_once(near: MemoryTransport) -> None:
    with pytest.raises(StorageFullError, match="disk has .* bytes left"):
        near.request("POST", "/objects", body=iter([b""]), length=1 << 60)
