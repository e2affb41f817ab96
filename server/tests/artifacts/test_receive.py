import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runyard.errors import DigestMismatchError, UserErrorException
from runyard.protocol.pack import END, entry_header
from runyard_server.artifacts.receive import ObjectSink, receive_pack
from runyard_server.artifacts.store import FolderStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FolderStore]:
    store = FolderStore(tmp_path / "objects")
    yield store
    store.close()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def entry(content: bytes, name: str | None = None) -> bytes:
    return entry_header(name or digest(content), len(content)) + content


async def chunks(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


def receive(store: FolderStore, body: bytes, size: int = 1 << 16) -> int:
    return asyncio.run(receive_pack(chunks(body, size), ObjectSink(store)))


def half_written(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "objects" / "incoming").rglob("*") if path.is_file()]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.lists(st.binary(max_size=300), max_size=8), size=st.integers(1, 400))
def test_a_pack_arrives_whole_however_the_network_cuts_it(store: FolderStore, contents: list[bytes], size: int) -> None:
    body = b"".join(entry(content) for content in contents) + END
    assert receive(store, body, size) == len(contents)
    for content in contents:
        assert store.path(digest(content)).read_bytes() == content


def test_several_batches_arrive_in_order(store: FolderStore) -> None:
    content = bytes(range(256)) * 20_000
    assert receive(store, entry(content) + entry(b"small") + END, 200_000) == 2
    assert store.path(digest(content)).read_bytes() == content


def test_an_entry_with_other_bytes_than_its_name_says_is_refused_and_the_others_are_kept(
    store: FolderStore, tmp_path: Path
) -> None:
    lie = digest(b"what it is not")
    body = entry(b"before") + entry(b"changed", lie) + entry(b"after") + END
    with pytest.raises(DigestMismatchError) as refused:
        receive(store, body)
    assert refused.value.details == {"refused": [lie]}
    assert store.has([digest(b"before"), digest(b"after"), digest(b"changed"), lie]) == {
        digest(b"before"),
        digest(b"after"),
    }
    assert half_written(tmp_path) == []


@pytest.mark.parametrize("cut", [1, 5, 60, 74, 80])
def test_a_pack_that_breaks_off_leaves_nothing_half(store: FolderStore, tmp_path: Path, cut: int) -> None:
    body = entry(b"0123456789" * 2)
    with pytest.raises(UserErrorException, match="ended before its end mark"):
        receive(store, body[:cut], 7)
    assert store.missing([digest(b"0123456789" * 2)])
    assert half_written(tmp_path) == []


def test_bytes_after_the_end_are_refused(store: FolderStore) -> None:
    with pytest.raises(UserErrorException, match="bytes follow the pack's end mark"):
        receive(store, END + b"more")


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "ab", "é" * 32])
def test_an_entry_whose_name_is_no_digest_is_refused(store: FolderStore, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserErrorException, match="is no digest"):
        receive(store, entry(b"evil", name) + END)
    assert not (tmp_path / "x").exists()


def test_what_is_refused_is_read_to_its_end_so_that_the_sender_gets_the_answer(store: FolderStore) -> None:
    taken = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal taken
        yield entry(b"evil", "no digest")
        for _ in range(20):
            taken += 1
            yield bytes(1 << 20)

    with pytest.raises(UserErrorException, match="is no digest"):
        asyncio.run(receive_pack(body(), ObjectSink(store)))
    assert taken == 20


def test_a_sender_that_goes_away_leaves_nothing_half(store: FolderStore, tmp_path: Path) -> None:
    class Gone(Exception):
        pass

    async def body() -> AsyncIterator[bytes]:
        yield entry_header(digest(b"x"), 5_000_000) + bytes(2_000_000)
        raise Gone

    with pytest.raises(Gone):
        asyncio.run(receive_pack(body(), ObjectSink(store)))
    assert half_written(tmp_path) == []
