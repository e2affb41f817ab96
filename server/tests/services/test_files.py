import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from runyard.errors import FileNotInRunError, PathRefusedError, RunException, UnknownRunError, UserErrorException
from runyard.protocol.files import FileEntry, Manifest
from runyard_server.records.engine import Database
from runyard_server.testing.clock import FakeClock
from runyard_server.testing.file_server import FileServer

RUN = "files_1566000000_abcdef12"


@pytest.fixture
def server(database: Database, tmp_path: Path) -> Iterator[FileServer]:
    server = FileServer(tmp_path, database, FakeClock())
    server.add_run(RUN)
    yield server
    server.close()


def stored(server: FileServer, path: str, content: bytes = b"content") -> FileEntry:
    incoming = server.store.begin()
    incoming.write(content)
    digest = hashlib.sha256(content).hexdigest()
    server.store.keep(incoming, digest)
    return FileEntry(path, len(content), digest)


def test_files_are_committed_listed_and_opened(server: FileServer) -> None:
    entries = [stored(server, "outputs/model.bin", b"model"), stored(server, "outputs/a.txt")]
    assert server.files.commit(RUN, Manifest(entries)).id is not None
    assert server.files.list(RUN) == sorted(entries, key=lambda entry: entry.path)
    assert server.files.sizes(RUN) == [("outputs/a.txt", 7), ("outputs/model.bin", 5)]
    assert server.files.open(RUN, "outputs/model.bin").location.read_bytes() == b"model"
    assert server.files.read(RUN, "outputs/model.bin", 1, 3) == b"ode"
    assert [item.name for item in server.files.pack(RUN, ["outputs/model.bin"])] == ["outputs/model.bin"]


def test_outputs_are_files_of_the_folder_of_that_very_name(server: FileServer) -> None:
    for path, has in (("logs/outputs/a", False), ("Outputs/a", False), ("outputs.txt", False), ("outputs/z", True)):
        assert server.files.commit(RUN, Manifest([stored(server, path)])).id is not None
        assert server.files.has_outputs(RUN) is has


def test_a_commit_with_a_missing_object_adds_nothing(server: FileServer) -> None:
    absent = FileEntry("outputs/b", 3, "ab" * 32)
    answer = server.files.commit(RUN, Manifest([stored(server, "outputs/a"), absent]))
    assert (answer.id, answer.missing) == (None, [absent.digest])
    assert server.files.list(RUN) == []


def test_the_same_bytes_may_be_committed_again(server: FileServer) -> None:
    entry = stored(server, "outputs/a")
    server.files.commit(RUN, Manifest([entry]))
    assert server.files.commit(RUN, Manifest([entry])).id is not None
    assert server.files.list(RUN) == [entry]


def test_other_bytes_under_a_taken_path_are_refused_unless_asked_for(server: FileServer) -> None:
    server.files.commit(RUN, Manifest([stored(server, "outputs/a")]))
    other = Manifest([stored(server, "outputs/a", b"other"), stored(server, "outputs/new")])
    with pytest.raises(RunException, match="has outputs/a already, with other bytes"):
        server.files.commit(RUN, other)
    assert [entry.path for entry in server.files.list(RUN)] == ["outputs/a"]
    assert server.files.commit(RUN, other, overwrite=True).id is not None
    assert server.files.open(RUN, "outputs/a").location.read_bytes() == b"other"


def test_a_path_cannot_be_a_file_and_a_folder(server: FileServer) -> None:
    server.files.commit(RUN, Manifest([stored(server, "outputs/a")]))
    with pytest.raises(UserErrorException, match="'outputs/a' is listed as a file"):
        server.files.commit(RUN, Manifest([stored(server, "outputs/a/b")]))


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "/etc/passwd", "outputs/../../x", "outputs/", "outputs/%2e%2e\\x"]
)
def test_a_path_that_leaves_the_run_is_refused(server: FileServer, path: str) -> None:
    with pytest.raises(PathRefusedError):
        server.files.commit(RUN, Manifest([stored(server, path)]))


def test_an_unknown_run_is_named(server: FileServer) -> None:
    with pytest.raises(UnknownRunError):
        server.files.commit("nope", Manifest([stored(server, "outputs/a")]))
    with pytest.raises(UnknownRunError):
        server.files.open("nope", "outputs/a")


def test_an_unknown_file_names_the_closest_ten(server: FileServer) -> None:
    entries = [stored(server, f"logs/{number}.txt") for number in range(20)]
    server.files.commit(RUN, Manifest([*entries, stored(server, "outputs/model/checkpoint")]))
    with pytest.raises(
        FileNotInRunError, match=r"no file 'outputs/model'. It has: outputs/model/checkpoint, .* and 11 more"
    ):
        server.files.open(RUN, "outputs/model")
    with pytest.raises(FileNotInRunError, match="no file 'x'"):
        server.files.pack(RUN, ["logs/1.txt", "x"])


def test_a_run_without_files_says_so(server: FileServer) -> None:
    with pytest.raises(FileNotInRunError, match="no files yet"):
        server.files.open(RUN, "outputs/model")


def test_a_log_becomes_a_file_and_may_be_adopted_twice(server: FileServer, tmp_path: Path) -> None:
    log = tmp_path / "70_driver_log.txt"
    log.write_text("first\n")
    server.files.adopt_file(RUN, "azureml-logs/70_driver_log.txt", log)
    log.write_text("first\nsecond\n")
    server.files.adopt_file(RUN, "azureml-logs/70_driver_log.txt", log)
    assert server.files.read(RUN, "azureml-logs/70_driver_log.txt", 0, 100) == b"first\nsecond\n"


def test_a_check_finds_the_damaged_file(server: FileServer) -> None:
    good, bad = stored(server, "outputs/good", b"good"), stored(server, "outputs/bad", b"bad!")
    server.files.commit(RUN, Manifest([good, bad]))
    assert server.files.check(RUN) == (2, [])
    location = server.files.open(RUN, "outputs/bad").location
    location.chmod(0o600)
    location.write_bytes(b"evil")
    assert server.files.check(RUN) == (2, ["outputs/bad"])
    location.unlink()
    assert server.files.check(RUN) == (2, ["outputs/bad"])


def test_ten_thousand_files_are_committed_at_once(server: FileServer) -> None:
    digest = stored(server, "x").digest
    entries = [FileEntry(f"outputs/{number:05}", 7, digest) for number in range(10_000)]
    assert server.files.commit(RUN, Manifest(entries)).id is not None
    assert server.files.list(RUN) == entries
    assert len(server.files.pack(RUN, [entry.path for entry in entries])) == 10_000
