"""Streams files out: big pieces, the next one read by a thread while the last one is sent."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runyard.errors import ServiceException
from runyard.protocol.pack import END, entry_header, packed_size

PIECE = 1 << 20


@dataclass(frozen=True)
class Outgoing:
    """An entry of a pack: a local file (``size`` bytes of it), or ``data`` itself."""

    name: str
    size: int
    path: Path | None = None
    data: bytes = b""


def pack_length(entries: Iterable[Outgoing]) -> int:
    """Bytes of the whole pack: its Content-Length."""
    return packed_size((entry.name, entry.size) for entry in entries)


async def pack_pieces(entries: Sequence[Outgoing]) -> AsyncIterator[bytes]:
    """The pack's bytes, in pieces of about 1 MiB. Breaks off where a file became shorter."""
    async for piece in _read_ahead(_gathered(_pack(entries))):
        yield piece


async def file_pieces(path: Path, size: int, start: int = 0) -> AsyncIterator[bytes]:
    """``size`` bytes of the file from ``start`` on."""
    async for piece in _read_ahead(_content(path, size, start)):
        yield piece


def _pack(entries: Iterable[Outgoing]) -> Iterator[bytes]:
    for entry in entries:
        yield entry_header(entry.name, entry.size)
        if entry.path is None:
            yield entry.data
        else:
            yield from _content(entry.path, entry.size)
    yield END


def _gathered(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Joins small parts: a piece costs the same whatever its size."""
    gathered: list[bytes] = []
    size = 0
    for part in parts:
        gathered.append(part)
        size += len(part)
        if size >= PIECE:
            yield b"".join(gathered)
            gathered, size = [], 0
    if gathered:
        yield b"".join(gathered)


def _content(path: Path, size: int, start: int = 0) -> Iterator[bytes]:
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if start:
            os.lseek(source, start, os.SEEK_SET)
        while size:
            piece = os.read(source, min(PIECE, size))
            if not piece:
                # The length is promised already: breaking off is the only way to say that it is not whole.
                raise ServiceException(f"The file {path.name} became shorter while it was sent. Ask for it again.")
            size -= len(piece)
            yield piece
    finally:
        os.close(source)


async def _read_ahead(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    coming = loop.run_in_executor(None, next, pieces, None)
    try:
        while (piece := await coming) is not None:
            coming = loop.run_in_executor(None, next, pieces, None)
            yield piece
    finally:
        await asyncio.shield(asyncio.wait([coming]))
        if not coming.cancelled():
            coming.exception()  # was raised above already, or nobody is left to read it
        close = getattr(pieces, "close", None)
        if close is not None:
            close()
