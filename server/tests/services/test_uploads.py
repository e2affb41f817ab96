"""Files that come in parts: put together, given up, forgotten, on a full disk; nothing of them stays behind."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runyard.errors import StorageFullError
from runyard_server.artifacts.store import FolderStore, digest_of
from runyard_server.services import uploads
from runyard_server.services.uploads import IDLE_S, UnknownUploadError, UploadService
from runyard_server.testing.clock import FakeClock


class Yard:
    """Uploads over a store in a folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.clock = root, FakeClock()
        self.store = FolderStore(root)
        self.uploads = UploadService(self.store, self.clock)

    def put(self, upload_id: str, number: int, content: bytes) -> str:
        async def body() -> AsyncIterator[bytes]:
            yield content

        return asyncio.run(self.uploads.put(upload_id, number, body(), len(content)))

    def on_their_way(self) -> int:
        return sum(path.is_file() for path in (self.root / "incoming").rglob("*"))


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path / "objects")


def test_parts_become_one_content_like_any_other(yard: Yard, tmp_path: Path) -> None:
    pieces = [bytes([number]) * (5 << 20) for number in range(3)]  # together larger than what is hashed in one piece
    upload = yard.uploads.begin("r1", "outputs/a", 3)
    named = {number: yard.put(upload, number, pieces[number - 1]) for number in (2, 3, 1)}
    digest, size = yard.uploads.join(upload, "r1", "outputs/a", named)
    (tmp_path / "whole").write_bytes(b"".join(pieces))
    assert (digest, size) == (digest_of(tmp_path / "whole"), 15 << 20)
    assert yard.store.path(digest).read_bytes() == b"".join(pieces)
    assert yard.on_their_way() == 0


def test_the_same_content_again_is_kept_once(yard: Yard) -> None:
    made = set()
    for _ in range(2):
        upload = yard.uploads.begin("r1", "a", 2)
        made.add(yard.uploads.join(upload, "r1", "a", {n: yard.put(upload, n, b"xy") for n in (1, 2)}))
    assert len(made) == len(list(yard.store.objects())) == 1
    assert yard.on_their_way() == 0


def test_who_asks_twice_at_once_is_told_the_same(yard: Yard) -> None:
    upload = yard.uploads.begin("r1", "a", 8)
    named = {number: yard.put(upload, number, bytes([number]) * 500_000) for number in range(1, 9)}
    said: list[tuple[str, int]] = []
    asking = [
        threading.Thread(target=lambda: said.append(yard.uploads.join(upload, "r1", "a", named))) for _ in range(4)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(60)
    assert len(said) == 4 and len(set(said)) == 1
    with pytest.raises(UnknownUploadError):
        yard.put(upload, 1, b"too late")
    assert yard.on_their_way() == 0


def test_what_nobody_is_heard_of_for_an_hour_is_forgotten(yard: Yard) -> None:
    left, going_on = yard.uploads.begin("r1", "a", 2), yard.uploads.begin("r1", "b", 2)
    for upload in (left, going_on):
        yard.put(upload, 1, b"x")
    yard.clock.advance(IDLE_S * 0.75)
    yard.put(going_on, 2, b"y")
    yard.clock.advance(IDLE_S * 0.75)
    yard.uploads.sweep()
    assert yard.on_their_way() == 2
    with pytest.raises(UnknownUploadError, match="nothing came of it for an hour"):
        yard.put(left, 2, b"y")
    assert yard.uploads.run_of(going_on) == "r1"


def test_a_part_that_breaks_off_is_none(yard: Yard) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"x" * (3 << 20)
        raise ConnectionError("the client is gone")

    upload = yard.uploads.begin("r1", "a", 1)
    with pytest.raises(ConnectionError):
        asyncio.run(yard.uploads.put(upload, 1, body(), None))
    assert yard.on_their_way() == 0


def test_where_the_disk_is_full_nothing_is_kept(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = yard.uploads.begin("r1", "a", 2)
    named = {number: yard.put(upload, number, b"x" * 100) for number in (1, 2)}

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk, pytest.raises(StorageFullError):
        disk.setattr("os.write", full)
        yard.uploads.join(upload, "r1", "a", named)
    assert yard.on_their_way() == 0
    with pytest.raises(UnknownUploadError):
        yard.uploads.run_of(upload)


def test_parts_go_with_the_server_that_took_them(yard: Yard) -> None:
    yard.put(yard.uploads.begin("r1", "a", 2), 1, b"x")
    yard.store.close()
    assert Yard(yard.root).on_their_way() == 0


def test_ten_thousand_parts_are_begun(yard: Yard) -> None:
    assert yard.uploads.run_of(yard.uploads.begin("r1", "a", uploads.MOST_PARTS)) == "r1"
