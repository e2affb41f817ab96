"""Many files in one body: the only framing in which file bytes travel.

A pack is a sequence of entries, each ``<name length: u16><size: u64><name: UTF-8><bytes>``, little
endian, and ends with an entry of name length 0 and size 0. A name is a digest or a path, as the
route says. There are no links, modes or absolute names in it to be abused.
"""

import struct
from typing import BinaryIO, Callable, Iterable, Iterator, List, Tuple

HEADER = struct.Struct("<HQ")
END = HEADER.pack(0, 0)
CHUNK = 1 << 20


def entry_header(name: str, size: int) -> bytes:
    """The bytes before an entry's content. ``size`` in bytes."""
    encoded = name.encode("utf-8")
    if not encoded or len(encoded) > 0xFFFF:
        raise ValueError("a pack entry's name must have 1 to 65535 bytes, this one has {}".format(len(encoded)))
    return HEADER.pack(len(encoded), size) + encoded


def packed_size(entries: Iterable[Tuple[str, int]]) -> int:
    """Bytes that a pack of ``(name, size)`` entries has in all."""
    return sum(HEADER.size + len(name.encode("utf-8")) + size for name, size in entries) + len(END)


class PackReader:
    """Reads a pack from a file object (one with ``read(n)``), entry by entry.

    Usage: ``for name, size in reader: for chunk in reader.chunks(): ...``. Content that is not read
    is skipped. Raises ValueError for a pack that is cut short.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._left = 0

    def __iter__(self) -> Iterator[Tuple[str, int]]:
        while True:
            for _ in self.chunks():
                pass
            name_length, size = HEADER.unpack(self._exactly(HEADER.size))
            if name_length == 0:
                return
            name = self._exactly(name_length).decode("utf-8")
            self._left = size
            yield name, size

    def chunks(self) -> Iterator[bytes]:
        """The present entry's content, in pieces of at most 1 MiB."""
        while self._left:
            chunk = self._source.read(min(CHUNK, self._left))
            if not chunk:
                raise ValueError("the pack ended {} bytes too early".format(self._left))
            self._left -= len(chunk)
            yield chunk

    @property
    def left(self) -> int:
        """Bytes of the present entry that are not read yet."""
        return self._left

    def into(self, buffer: memoryview) -> int:
        """Reads the present entry's next bytes into ``buffer``; gives their number, 0 at the entry's end."""
        wanted = min(len(buffer), self._left)
        if not wanted:
            return 0
        count = self._source.readinto(buffer[:wanted])  # type: ignore[attr-defined]
        if not count:
            raise ValueError("the pack ended {} bytes too early".format(self._left))
        self._left -= count
        return int(count)

    def _exactly(self, count: int) -> bytes:
        parts: List[bytes] = []
        while count:
            part = self._source.read(count)
            if not part:
                raise ValueError("the pack ended {} bytes too early".format(count))
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


class PackDecoder:
    """The same for bytes that arrive by themselves: feed it what came, it calls back.

    ``begin(name, size)``, ``data(memoryview)``, ``end()`` are called in order. ``finished`` tells
    whether the end mark was seen. For servers, where nothing may block on a read.
    """

    def __init__(
        self,
        begin: Callable[[str, int], None],
        data: Callable[[memoryview], None],
        end: Callable[[], None],
    ) -> None:
        self._begin, self._data, self._end = begin, data, end
        self._buffer = bytearray()
        self._left = 0
        self.finished = False

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes. Raises ValueError for bytes after the end mark or a bad name."""
        view = memoryview(chunk)
        while view:
            if self.finished:
                raise ValueError("bytes follow the pack's end mark")
            if self._left:
                piece = view[: self._left]
                self._data(piece)
                self._left -= len(piece)
                view = view[len(piece) :]
                if not self._left:
                    self._end()
                continue
            view = self._header(view)

    def _header(self, view: memoryview) -> memoryview:
        need = HEADER.size
        if len(self._buffer) >= HEADER.size:
            need += HEADER.unpack_from(self._buffer)[0]
        take = min(need - len(self._buffer), len(view))
        self._buffer += view[:take]
        if len(self._buffer) < HEADER.size:
            return view[take:]
        name_length, size = HEADER.unpack_from(self._buffer)
        if name_length == 0:
            self.finished = True
        elif len(self._buffer) == HEADER.size + name_length:
            name = bytes(self._buffer[HEADER.size :]).decode("utf-8")
            self._buffer.clear()
            self._left = size
            self._begin(name, size)
            if not size:
                self._end()
        return view[take:]
