"""The digest of bytes that come one after the other, made while they still come: of many by threads beside."""

import hashlib
import os
import threading
from queue import SimpleQueue
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional

from runyard.protocol.digest import LARGE, PIECE, of_pieces

_MOST_THREADS = 8  # more of them only wait for the memory
_AHEAD = 4  # pieces that may wait for each thread

Release = Callable[[], Any]


class Hashing:
    """Takes the bytes of a content in order and gives its digest.

    Args:
        size: the bytes that will come. Where they are ``LARGE`` or more, threads are at work until ``digest`` or ``close``.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0
        self._in_order = hashlib.sha256()
        self._gathered: List[memoryview] = []
        self._in_pieces = size >= LARGE
        self._count = -(-size // PIECE)
        self._pieces: Dict[int, bytes] = {}  # as they come: a size is only what somebody says
        self._todo: SimpleQueue[Optional[_Piece]] = SimpleQueue()
        self._threads = started(self._work, min(cores(), self._count) if self._in_pieces else 0)
        self._room = threading.Semaphore(_AHEAD * len(self._threads))

    def add(self, data: memoryview, release: Optional[Release] = None) -> None:
        """Takes the next bytes. Waits where too many are not hashed yet.

        Args:
            data: not to be changed before it is hashed.
            release: is called then; ``data`` is a whole piece, or the last one.
        """
        if not self._in_pieces:
            self._taken += len(data)
            self._in_order.update(data)
            if release is not None:
                release()
        while self._in_pieces and data:
            part = data[: PIECE - self._taken % PIECE]
            data = data[len(part) :]
            self._gathered.append(part)
            self._taken += len(part)
            if not self._taken % PIECE or self._taken == self._size:
                self._hand_on(_Piece((self._taken - 1) // PIECE, self._gathered, release))
                self._gathered = []

    def digest(self) -> Optional[str]:
        """The digest in hex, None where other bytes came than were announced."""
        self.close()
        if self._in_pieces:
            if self._taken != self._size:
                return None
            return of_pieces(self._size, [self._pieces[number] for number in range(self._count)])
        return self._in_order.hexdigest() if self._taken < LARGE else None

    def close(self) -> None:
        """Waits until what came is hashed, and ends the threads."""
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _hand_on(self, piece: "_Piece") -> None:
        if self._threads:
            self._room.acquire()
            self._todo.put(piece)
        else:
            self._hash(piece)

    def _work(self) -> None:
        while True:
            piece = self._todo.get()
            if piece is None:
                return
            self._hash(piece)
            self._room.release()

    def _hash(self, piece: "_Piece") -> None:
        if piece.number < self._count:  # more may come than was announced
            self._pieces[piece.number] = sha256_of(piece.parts)
        if piece.release is not None:
            piece.release()


class _Piece(NamedTuple):
    number: int
    parts: List[memoryview]
    release: Optional[Release]


def sha256_of(parts: Iterable[memoryview]) -> bytes:
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.digest()


def cores() -> int:
    """How many threads are worth hashing on."""
    try:
        found = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        found = os.cpu_count() or 1
    return min(found, _MOST_THREADS)


def started(work: Callable[[], None], count: int) -> List[threading.Thread]:
    """Threads that do ``work``, at most ``count``: fewer where the user may have no more."""
    threads = []
    for _ in range(count):
        thread = threading.Thread(target=work, name="runyard-hash", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            break  # whoever asked for them does it with those that are there
        threads.append(thread)
    return threads
