import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from runyard.errors import PathRefusedError, SnapshotException, UserErrorException
from runyard.protocol.files import MANIFEST_ENTRY, FileEntry, Manifest, manifest_id
from runyard_server.records.engine import Database
from runyard_server.testing.clock import FakeClock
from runyard_server.testing.file_server import FileServer


@pytest.fixture
def server(database: Database, tmp_path: Path) -> Iterator[FileServer]:
    server = FileServer(tmp_path, database, FakeClock())
    yield server
    server.close()


def entry(path: str, content: bytes = b"content", executable: bool = False) -> FileEntry:
    return FileEntry(path, len(content), hashlib.sha256(content).hexdigest(), executable)


def store(server: FileServer, content: bytes = b"content") -> None:
    incoming = server.store.begin()
    incoming.write(content)
    server.store.keep(incoming, hashlib.sha256(content).hexdigest())


def test_a_snapshot_is_there_once_its_objects_are(server: FileServer) -> None:
    manifest = Manifest([entry("train.py"), entry("lib/model.py", b"model")])
    answer = server.snapshots.create(manifest)
    assert answer.id is None
    assert answer.missing == [file.digest for file in manifest.files]
    store(server)
    assert server.snapshots.create(manifest).missing == [entry("", b"model").digest]
    store(server, b"model")
    answer = server.snapshots.create(manifest)
    assert answer.id == manifest_id(manifest)
    assert answer.missing == []
    assert server.snapshots.get(answer.id) == manifest


def test_the_same_tree_has_one_id_however_it_is_listed(server: FileServer) -> None:
    store(server)
    one = server.snapshots.create(Manifest([entry("a"), entry("b")])).id
    other = server.snapshots.create(Manifest([entry("b"), entry("a")])).id
    assert one == other
    assert one != server.snapshots.create(Manifest([entry("a"), entry("b", executable=True)])).id


def test_an_empty_tree_is_a_snapshot(server: FileServer) -> None:
    answer = server.snapshots.create(Manifest([]))
    assert answer.id is not None
    assert server.snapshots.get(answer.id) == Manifest([])


def test_a_pack_begins_with_the_manifest_and_has_each_content_once(server: FileServer) -> None:
    store(server)
    answer = server.snapshots.create(Manifest([entry("a"), entry("b")]))
    assert answer.id is not None
    assert [item.name for item in server.snapshots.pack(answer.id)] == [MANIFEST_ENTRY, entry("").digest]


def test_an_unknown_snapshot_is_refused(server: FileServer) -> None:
    with pytest.raises(SnapshotException, match="no snapshot 'nope'"):
        server.snapshots.get("nope")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a//b", "a/./b", "a\\b", "", "~x", "C:/x", "a\x00b"])
def test_a_path_that_is_not_plain_is_refused(server: FileServer, path: str) -> None:
    with pytest.raises(PathRefusedError):
        server.snapshots.create(Manifest([entry(path)]))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([entry("a"), entry("a", b"other")], "'a' is listed twice"),
        ([entry("a/b/c"), entry("a")], "'a' is listed as a file"),
        ([FileEntry("a", -1, entry("").digest)], "cannot be"),
        ([FileEntry("a", 1, entry("").digest), FileEntry("b", 2, entry("").digest)], "cannot be"),
        ([FileEntry("a", 1, "nope")], "is no digest"),
    ],
)
def test_a_list_that_is_no_tree_is_refused(server: FileServer, files: list[FileEntry], said: str) -> None:
    with pytest.raises(UserErrorException, match=said):
        server.snapshots.create(Manifest(files))
