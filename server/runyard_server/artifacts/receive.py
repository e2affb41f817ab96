"""Takes a pack from the network: the next bytes arrive while a thread hashes and writes the last ones."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

from runyard.errors import DigestMismatchError, UserErrorException
from runyard.protocol.pack import PackDecoder
from runyard_server.artifacts.store import ObjectStore, checked_digest
from runyard_server.artifacts.writing import DigestRefused, IncomingFile

T = TypeVar("T")

BATCH = 1 << 20  # bytes gathered before the thread is given them: a hand-over costs about as much as hashing 100 KB


class PackSink(ABC):
    """Where a pack's entries go, one after the other."""

    @abstractmethod
    def begin(self, name: str, size: int) -> IncomingFile:
        """A file to write the entry into. Raises what is to be answered where the entry is refused."""

    @abstractmethod
    def end(self, incoming: IncomingFile, name: str, size: int) -> None:
        """Puts the entry in its place. Raises DigestRefused."""

    def finish(self) -> None:  # noqa: B027 - nothing to do is a fine answer
        """Called once after the last entry, and where the pack broke off."""


class ObjectSink(PackSink):
    """Entries named by digest, into the object store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def begin(self, name: str, size: int) -> IncomingFile:
        checked_digest(name)
        return self._store.begin(size)

    def end(self, incoming: IncomingFile, name: str, size: int) -> None:
        self._store.keep(incoming, name)


class _Unpacking:
    """Feeds a decoder and a sink; runs in worker threads, one call at a time."""

    def __init__(self, sink: PackSink) -> None:
        self._sink = sink
        self._decoder = PackDecoder(self._begin, self._data, self._end)
        self._name, self._size = "", 0
        self._incoming: IncomingFile | None = None
        self.refused: list[str] = []
        self.kept = 0

    def feed(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            try:
                self._decoder.feed(chunk)
            except ValueError as malformed:
                raise UserErrorException(f"The body is no pack: {malformed}.") from malformed

    def finish(self) -> None:
        if self._incoming is not None:
            self._incoming.discard()
        self._sink.finish()

    def check_whole(self) -> None:
        if not self._decoder.finished:
            raise UserErrorException(
                "The pack ended before its end mark. What came whole is kept; send the rest again."
            )

    def _begin(self, name: str, size: int) -> None:
        self._name, self._size = name, size
        self._incoming = self._sink.begin(name, size)

    def _data(self, data: memoryview) -> None:
        assert self._incoming is not None
        self._incoming.write(data)

    def _end(self) -> None:
        assert self._incoming is not None
        incoming, self._incoming = self._incoming, None
        try:
            self._sink.end(incoming, self._name, self._size)
        except DigestRefused:
            self.refused.append(self._name)
        except BaseException:
            incoming.discard()
            raise
        else:
            self.kept += 1


async def receive_file(body: AsyncIterator[bytes], store: ObjectStore, length: int) -> tuple[str, int]:
    """Puts ``body`` into the store as it comes; gives its digest and its size in bytes.

    Args:
        length: what the sender said, 0 where it did not.
    Raises:
        StorageFullError: the disk is full; nothing is kept.
    """
    return await _received(body, store, length, lambda incoming, size: (store.keep_new(incoming, size), size))


async def receive_aside(
    body: AsyncIterator[bytes], store: ObjectStore, length: int, take: Callable[[Path, int, str], None]
) -> str:
    """Writes ``body`` beside the store; gives its digest.

    Args:
        take: is given the file, its size in bytes and its digest. It is removed where this raises something.
    Raises:
        StorageFullError: the disk is full; nothing is kept.
    """

    def end(incoming: IncomingFile, size: int) -> str:
        digest = incoming.digest()
        take(incoming.set_aside(), size, digest)
        return digest

    return await _received(body, store, length, end)


async def _received(
    body: AsyncIterator[bytes], store: ObjectStore, length: int, end: Callable[[IncomingFile, int], T]
) -> T:
    """Writes ``body`` as it comes; ``end`` is given the file and its size, in a thread."""
    loop = asyncio.get_running_loop()
    incoming = store.begin(length)
    working: asyncio.Future[Any] | None = None
    size = 0
    try:
        async for piece in _gathered(body):
            size += len(piece)
            working = loop.run_in_executor(None, incoming.write, piece)
            await asyncio.shield(working)
        ending = loop.run_in_executor(None, end, incoming, size)
        working = ending
        return await asyncio.shield(ending)
    except BaseException:
        if working is not None:  # a thread may still be writing when the sender goes away
            await asyncio.shield(asyncio.wait([working]))
        incoming.discard()
        raise


async def _gathered(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    gathered: list[bytes] = []
    size = 0
    async for piece in body:
        gathered.append(piece)
        size += len(piece)
        if size >= BATCH:
            yield b"".join(gathered)
            gathered, size = [], 0
    if gathered:
        yield b"".join(gathered)


async def receive_pack(body: AsyncIterator[bytes], sink: PackSink) -> int:
    """Unpacks ``body`` into ``sink``; gives the number of entries kept.

    What was refused or broke off is read to its end without being kept, so that the sender, still
    sending, gets the answer.

    Raises:
        DigestMismatchError: entries whose bytes are not those of their digest; the others are kept.
        UserErrorException: the body is no pack, or ended too early.
        StorageFullError: the disk is full.
    """
    unpacking = _Unpacking(sink)
    try:
        await _feed(body, unpacking)
    except asyncio.CancelledError:
        raise
    except Exception:
        async for _ in body:
            pass
        raise
    finally:
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, unpacking.finish))
    unpacking.check_whole()
    if unpacking.refused:
        raise DigestMismatchError(
            f"{len(unpacking.refused)} of the pack's entries have other bytes than their digests say and were not kept. "
            "Did the files change while they were sent? Read them again.",
            {"refused": unpacking.refused},
        )
    return unpacking.kept


async def _feed(body: AsyncIterator[bytes], unpacking: _Unpacking) -> None:
    loop = asyncio.get_running_loop()
    gathered: list[bytes] = []
    size = 0
    working: asyncio.Future[None] | None = None
    try:
        async for chunk in body:
            gathered.append(chunk)
            size += len(chunk)
            if size >= BATCH:
                if working is not None:
                    await working
                working = loop.run_in_executor(None, unpacking.feed, gathered)
                gathered, size = [], 0
        if working is not None:
            await working
        working = loop.run_in_executor(None, unpacking.feed, gathered)
    finally:
        # A thread may still be writing when the sender goes away; the files are closed after it only.
        if working is not None:
            await asyncio.shield(asyncio.wait([working]))
            if not working.cancelled():
                working.exception()  # marks it as seen where the body's own failure is raised instead
    await working
