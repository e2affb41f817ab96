import asyncio
import io
from pathlib import Path

import pytest

from runyard.errors import ServiceException
from runyard.protocol.pack import PackReader
from runyard_server.artifacts.send import PIECE, Outgoing, file_pieces, pack_length, pack_pieces


def test_a_pack_has_the_length_that_was_promised_and_every_file(tmp_path: Path) -> None:
    large, small = bytes(range(256)) * 10_000, b"small"
    (tmp_path / "large").write_bytes(large)
    (tmp_path / "small").write_bytes(small)
    entries = [
        Outgoing("a/large", len(large), tmp_path / "large"),
        Outgoing("listed", 4, data=b"data"),
        Outgoing("b/small", len(small), tmp_path / "small"),
        Outgoing("empty", 0, data=b""),
    ]

    async def taken() -> list[bytes]:
        return [piece async for piece in pack_pieces(entries)]

    pieces = asyncio.run(taken())
    body = b"".join(pieces)
    assert len(body) == pack_length(entries)
    assert max(len(piece) for piece in pieces) <= 2 * PIECE
    reader = PackReader(io.BytesIO(body))
    found = {name: b"".join(reader.chunks()) for name, _ in reader}
    assert found == {"a/large": large, "listed": b"data", "b/small": small, "empty": b""}


def test_thousands_of_small_files_travel_in_few_pieces(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"x" * 100)
    entries = [Outgoing(f"files/{number}", 100, tmp_path / "one") for number in range(3000)]

    async def count() -> int:
        return len([piece async for piece in pack_pieces(entries)])

    assert asyncio.run(count()) == 1


def test_a_file_that_became_shorter_breaks_the_answer_off(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"12345")

    async def taken() -> None:
        async for _ in file_pieces(tmp_path / "short", 10):
            pass

    with pytest.raises(ServiceException, match="became shorter"):
        asyncio.run(taken())


def test_part_of_a_file_is_sent(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")

    async def taken() -> bytes:
        return b"".join([piece async for piece in file_pieces(tmp_path / "file", 3, 4)])

    assert asyncio.run(taken()) == b"456"


def test_a_reader_that_goes_away_leaves_no_file_open(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(5 * PIECE))
    opened = Path("/proc/self/fd")

    async def begin() -> None:
        pieces = file_pieces(tmp_path / "file", 5 * PIECE)
        await anext(pieces)
        await pieces.aclose()  # type: ignore[attr-defined]

    asyncio.run(begin())
    assert not [link for link in opened.iterdir() if link.exists() and link.resolve() == tmp_path / "file"]
