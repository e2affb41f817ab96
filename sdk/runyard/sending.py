"""Packs on their way out: files in groups of bounded size, read while they are sent, sent again where that failed."""

import os
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Set

from runyard.digests import LocalFile
from runyard.errors import DigestMismatchError, ServerUnavailableError
from runyard.progress import Progress, silent
from runyard.protocol.pack import CHUNK, END, entry_header, packed_size
from runyard.transport.base import Transport

PACK_BYTES = 64 << 20
PACK_FILES = 1000
TRIES = 3


def groups(files: Sequence[LocalFile], name_of: Callable[[LocalFile], str]) -> Iterator[List[LocalFile]]:
    """Files in packs of bounded size and number; one that is larger than a pack goes alone."""
    group: List[LocalFile] = []
    size = 0
    seen: Set[str] = set()
    for file in files:
        name = name_of(file)
        if name in seen:
            continue
        seen.add(name)
        if group and (size + file.size > PACK_BYTES or len(group) == PACK_FILES):
            yield group
            group, size = [], 0
        group.append(file)
        size += file.size
    if group:
        yield group


def send_packs(
    transport: Transport,
    path: str,
    query: Optional[Dict[str, Any]],
    files: Sequence[LocalFile],
    name_of: Callable[[LocalFile], str],
    progress: Optional[Progress],
) -> Set[str]:
    refused: Set[str] = set()
    for group in groups(files, name_of):
        names = [(name_of(file), file.size) for file in group]
        for tries_left in reversed(range(TRIES)):
            body = PackBody(group, name_of, progress or silent)
            length = packed_size(names)
            try:
                if length <= CHUNK:  # as bytes, which the transport itself may send again
                    transport.request("POST", path, query=query, body=b"".join(body), length=length).close()
                else:
                    transport.request("POST", path, query=query, body=body, length=length).close()
                break
            except DigestMismatchError as mismatch:
                refused.update(mismatch.details.get("refused", ()))
                break
            except ServerUnavailableError:
                body.take_back()
                if not tries_left:
                    raise
    return refused


class PackBody:
    """The bytes of one pack, in pieces of about 1 MiB, read while they are sent.

    It never fails: a file that became shorter or went away is filled up with zeros, and the server
    refuses it by its digest.
    """

    def __init__(self, files: Sequence[LocalFile], name_of: Callable[[LocalFile], str], progress: Progress) -> None:
        self._files, self._name_of, self._progress = files, name_of, progress
        self._moved_bytes = self._moved_files = 0

    def __iter__(self) -> Iterator[bytes]:
        self.take_back()
        parts: List[bytes] = []
        gathered = 0
        for file in self._files:
            parts.append(entry_header(self._name_of(file), file.size))
            for piece in _content(file):
                parts.append(piece)
                gathered += len(piece)
                if gathered >= CHUNK:
                    yield b"".join(parts) if len(parts) > 1 else piece
                    self._moved(gathered, 0)
                    parts, gathered = [], 0
            self._moved(0, 1)
        parts.append(END)
        yield b"".join(parts)
        self._moved(gathered, 0)

    def _moved(self, moved_bytes: int, files: int) -> None:
        self._moved_bytes += moved_bytes
        self._moved_files += files
        self._progress(moved_bytes, files)

    def take_back(self) -> None:
        """Tells the progress that what was sent has to be sent again."""
        self._moved(-self._moved_bytes, -self._moved_files)


def _content(file: LocalFile) -> Iterator[bytes]:
    """Exactly ``file.size`` bytes: the file's, then zeros where it has fewer."""
    left = file.size
    try:
        source = os.open(file.local, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        source = -1
    try:
        while left and source >= 0:
            try:
                piece = os.read(source, min(CHUNK, left))
            except OSError:
                break
            if not piece:
                break
            left -= len(piece)
            yield piece
    finally:
        if source >= 0:
            os.close(source)
    while left:
        piece = bytes(min(CHUNK, left))
        left -= len(piece)
        yield piece
