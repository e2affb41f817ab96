"""A local file is read once, for its digest and for a copy of it: a large one in pieces, on all cores."""

import hashlib
import io
import os
import threading
from typing import Callable, List, Optional, Tuple

from runyard.hashing import cores, started
from runyard.protocol.digest import LARGE, PIECE, of_pieces

_BLOCK = 256 << 10  # bytes; a few of them stay in a core's own cache between reading, hashing and writing

Read = Callable[[memoryview, int], int]  # into a buffer, from an offset: how many bytes; 0 at the file's end
Write = Callable[[memoryview, int], None]  # all of a buffer, to an offset
Moved = Callable[[int], None]


def copied(
    source: int, write: Optional[Write] = None, moved: Optional[Moved] = None, most_bytes: Optional[int] = None
) -> Tuple[str, int]:
    """Reads an open file from its beginning and gives the digest and the number of its bytes.

    What is hashed are the very bytes that ``write`` was given, whatever happens to the file meanwhile. A file that
    grows is taken as long as it was. One that gets shorter is begun anew: what ``write`` was given beyond the number
    that comes back is not part of it.

    Args:
        source: its descriptor, whose position neither counts nor changes.
        write: takes each part with its offset; those of a large file in any order, from several threads at once.
        moved: is told the bytes of each part, by one thread at a time.
        most_bytes: how many are read at most.
    Raises:
        OSError: it cannot be read.
    """
    read = reader(source)
    while True:
        size = os.fstat(source).st_size
        if most_bytes is not None:
            size = min(size, most_bytes)
        if size < LARGE:
            return in_order(read, size, write, moved)
        digest = _in_pieces(read, size, write, moved)
        if digest is not None:
            return digest, size


def reader(descriptor: int) -> Read:
    """Reads an open file at any offset, from any thread."""
    if hasattr(os, "preadv"):
        return lambda view, offset: os.preadv(descriptor, [view], offset)
    file, turn = io.FileIO(descriptor, "rb", closefd=False), threading.Lock()

    def read(view: memoryview, offset: int) -> int:
        with turn:
            file.seek(offset)
            return file.readinto(view) or 0

    return read


def in_order(read: Read, size: int, write: Optional[Write] = None, moved: Optional[Moved] = None) -> Tuple[str, int]:
    """SHA-256 of the first ``size`` bytes, or of what there is, and their number."""
    found, offset = hashlib.sha256(), 0
    buffer = memoryview(bytearray(min(size, _BLOCK)))
    while offset < size:
        part = buffer[: size - offset]
        part = part[: read(part, offset)]
        if not part:
            break
        found.update(part)
        if write is not None:
            write(part, offset)
        offset += len(part)
        if moved is not None:
            moved(len(part))
    return found.hexdigest(), offset


def _in_pieces(read: Read, size: int, write: Optional[Write], moved: Optional[Moved]) -> Optional[str]:
    """The digest of ``size`` bytes; None where there are fewer."""
    pieces = [b""] * -(-size // PIECE)
    waiting = iter(range(len(pieces)))
    turn = threading.Lock()
    faults: List[BaseException] = []
    told = 0

    def next_piece(done: int) -> Optional[int]:
        nonlocal told
        with turn:
            if done and moved is not None:
                told += done
                moved(done)
            return None if faults else next(waiting, None)

    def work() -> None:
        buffer = memoryview(bytearray(PIECE))
        done = 0
        try:
            while True:
                index = next_piece(done)
                if index is None:
                    return
                offset = index * PIECE
                piece = buffer[: size - offset]
                _fill(read, piece, offset)
                if write is not None:
                    write(piece, offset)
                pieces[index] = hashlib.sha256(piece).digest()
                done = len(piece)
        except BaseException as fault:  # told by the thread that waits for all
            faults.append(fault)

    helpers = started(work, min(cores(), len(pieces)) - 1)
    work()
    for helper in helpers:
        helper.join()
    for fault in faults:
        if not isinstance(fault, _BecameShorter):
            raise fault
    if not faults:
        return of_pieces(size, pieces)
    if moved is not None:
        moved(-told)
    return None


class _BecameShorter(Exception):
    """The file ends before the size that it had."""


def _fill(read: Read, piece: memoryview, offset: int) -> None:
    while piece:
        count = read(piece, offset)
        if not count:
            raise _BecameShorter
        piece, offset = piece[count:], offset + count
