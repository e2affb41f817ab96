import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runyard.errors import ServiceException, StorageFullError, UserErrorException
from runyard.protocol.digest import LARGE
from runyard_server.artifacts.store import FolderStore, digest_of
from runyard_server.artifacts.writing import DigestRefused, Incoming

LARGE_ZEROS = "6a9d6fc37cf42062300243f2621cbbbd1e5fd412fd621300f3407ed3a68a1acc"  # of LARGE zero bytes


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FolderStore]:
    store = FolderStore(tmp_path / "objects")
    yield store
    store.close()


def kept(store: FolderStore, content: bytes) -> str:
    incoming = store.begin()
    incoming.write(content)
    store.keep(incoming, digest(content))
    return digest(content)


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_an_object_is_found_under_its_digest(store: FolderStore) -> None:
    name = kept(store, b"hello")
    assert store.path(name).read_bytes() == b"hello"
    assert store.size(name) == 5
    assert store.has([name, digest(b"other")]) == {name}


def test_the_same_content_is_stored_once(store: FolderStore, tmp_path: Path) -> None:
    kept(store, b"hello")
    kept(store, b"hello")
    assert len(files_in(tmp_path / "objects")) == 1


def test_bytes_of_another_digest_leave_nothing(store: FolderStore, tmp_path: Path) -> None:
    incoming = store.begin()
    incoming.write(b"hello")
    with pytest.raises(DigestRefused):
        store.keep(incoming, digest(b"other"))
    assert files_in(tmp_path / "objects") == []


def test_missing_names_each_absent_digest_once_and_in_order(store: FolderStore) -> None:
    here = kept(store, b"here")
    first, second = digest(b"first"), digest(b"second")
    assert store.missing([second, here, first, second]) == [second, first]


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n"])
def test_what_is_no_digest_is_refused(store: FolderStore, name: str) -> None:
    with pytest.raises(UserErrorException, match="is no digest"):
        store.has([name])
    with pytest.raises(UserErrorException, match="is no digest"):
        store.path(name)


def test_an_absent_object_says_so(store: FolderStore) -> None:
    with pytest.raises(ServiceException, match="gone from the server's store"):
        store.path(digest(b"absent"))


def test_a_local_file_is_copied_in_and_left_alone(store: FolderStore, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(b"x" * 3_000_000)
    assert store.add_file(log) == (digest(b"x" * 3_000_000), 3_000_000)
    assert log.stat().st_size == 3_000_000
    assert store.path(digest(b"x" * 3_000_000)).read_bytes() == log.read_bytes()


def test_an_object_cut_short_by_a_power_failure_is_asked_for_again(store: FolderStore) -> None:
    name = kept(store, b"hello")
    os.truncate(store.path(name), 2)
    assert store.missing_or_short({name: 5}) == [name]
    kept(store, b"hello")
    assert store.missing_or_short({name: 5}) == []


def test_a_manifest_with_a_wrong_size_does_not_remove_a_whole_object(store: FolderStore) -> None:
    name = kept(store, b"hello")
    with pytest.raises(UserErrorException, match="has 5 bytes, not 4"):
        store.missing_or_short({name: 4})
    assert store.path(name).read_bytes() == b"hello"


def test_a_full_disk_keeps_no_partial_file(store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    incoming = store.begin()
    incoming.write(b"first part")

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.write", full)
    with pytest.raises(StorageFullError, match="Free some room"):
        incoming.write(b"second part")
    assert files_in(tmp_path / "objects") == []


def test_a_full_disk_keeps_nothing_of_a_large_file_that_several_threads_write(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, write = tmp_path / "large", os.pwrite
    large.write_bytes(bytes(2 * LARGE))

    def full(descriptor: int, data: memoryview, offset: int) -> int:
        if offset >= LARGE:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data, offset)

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(StorageFullError, match="Free some room"):
        store.add_file(large)
    assert files_in(tmp_path / "objects") == []
    assert [thread.name for thread in threading.enumerate() if thread.name == "runyard-hash"] == []
    monkeypatch.undo()
    name, size = store.add_file(large)
    assert (name, size, store.path(name).read_bytes()) == (digest_of(large), 2 * LARGE, bytes(2 * LARGE))


@pytest.mark.parametrize("announced", [LARGE + 1, 0, LARGE, 3 * LARGE])
def test_a_large_object_has_its_digest_whatever_size_was_announced(store: FolderStore, announced: int) -> None:
    content = os.urandom(LARGE + 1)
    incoming = store.begin(announced)
    for start in range(0, len(content), 300_000):
        incoming.write(content[start : start + 300_000])
    name = incoming.digest()
    store.keep(incoming, name)
    assert digest_of(store.path(name)) == name
    assert store.path(name).read_bytes() == content


def test_a_damaged_large_object_is_found_under_either_of_its_names(store: FolderStore) -> None:
    content = bytes(LARGE)
    for name in (kept(store, content), LARGE_ZEROS):
        if name == LARGE_ZEROS:
            incoming = store.begin(LARGE)
            incoming.write(content)
            store.keep(incoming, name)
        assert store.missing_or_short({name: LARGE}) == []
        with pytest.raises(UserErrorException, match="the list of files is wrong"):
            store.missing_or_short({name: LARGE + 1})
        os.truncate(store.path(name), LARGE - 1)
        assert store.missing_or_short({name: LARGE}) == [name]


def test_more_than_the_disk_holds_is_refused_before_it_is_read(store: FolderStore) -> None:
    with pytest.raises(StorageFullError, match="bytes left"):
        store.require_room(1 << 60)
    store.require_room(1)


def test_an_object_can_be_forced_to_the_disk(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "objects", sync=True)
    assert store.path(kept(store, b"hello")).read_bytes() == b"hello"
    store.close()


HOLD = """
import sys
import threading
from pathlib import Path
from runyard_server.artifacts.writing import Incoming
incoming = Incoming(Path(sys.argv[1]))
incoming.file().write(b"half")
print("ready", flush=True)
sys.stdin.read()
"""


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    # Two real processes: what is tested is the lock that the kernel frees when one of them dies.
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdin=-1, stdout=-1, env=environment) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        Incoming(tmp_path).close()
        assert len(files_in(tmp_path)) == 1
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    Incoming(tmp_path).close()
    assert list(tmp_path.iterdir()) == []
