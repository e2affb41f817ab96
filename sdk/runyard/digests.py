"""SHA-256 of local files, remembered for the large ones: an unchanged file is not read twice."""

import hashlib
import os
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from runyard import home

_CHUNK = 1 << 20
_REMEMBER_FROM = 1 << 20  # bytes; below it reading the file again is cheaper than looking it up
_SETTLED_NS = 2 * 10**9  # a file changed this shortly before may change again within the same time stamp


class LocalFile(NamedTuple):
    """A file of this machine, under the name it has where it is sent. ``size`` in bytes."""

    name: str
    local: str
    size: int
    digest: str
    executable: bool = False


def of_file(path: str, progress: Optional[Callable[[int], None]] = None) -> str:
    """The file's SHA-256 in hex. ``progress`` is told the bytes read, piece by piece.

    Raises:
        OSError: the file cannot be read.
    """
    found = hashlib.sha256()
    with open(path, "rb", buffering=0) as source:
        size = os.fstat(source.fileno()).st_size
        buffer = bytearray(max(1, min(_CHUNK, size + 1)))
        view = memoryview(buffer)
        while True:
            count = source.readinto(buffer)
            if not count:
                return found.hexdigest()
            found.update(view[:count])
            if progress is not None:
                progress(count)


class DigestCache:
    """Digests of the large files below one folder, kept in a small file between calls.

    A remembered digest counts while the file's size, modification time and inode stay the same.
    ``save`` writes what was learnt; a cache that cannot be read or written is as good as none.
    """

    def __init__(self, folder: str) -> None:
        key = hashlib.sha256(os.fsencode(os.path.abspath(folder))).hexdigest()[:32]
        self._file = os.path.join(home.root(), "cache", "digests", key + ".json")
        self._known: Optional[Dict[str, Any]] = None
        self._used: Dict[str, List[Any]] = {}

    def digest(self, path: str, stat: os.stat_result, progress: Optional[Callable[[int], None]] = None) -> str:
        """The digest of the file at ``path``, whose ``stat`` was taken just before."""
        if stat.st_size < _REMEMBER_FROM:
            return of_file(path, progress)
        if self._known is None:
            self._known = self._load()
        absolute = os.path.abspath(path)
        mark = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        known = self._known.get(absolute)
        if isinstance(known, list) and len(known) == 4 and known[:3] == mark:
            self._used[absolute] = known
            if progress is not None:
                progress(stat.st_size)
            return str(known[3])
        settled = stat.st_mtime_ns < time.time() * 1e9 - _SETTLED_NS
        digest = of_file(path, progress)
        if settled:
            self._used[absolute] = mark + [digest]
        return digest

    def _load(self) -> Dict[str, Any]:
        try:
            return home.read_json(self._file) or {}
        except OSError:
            return {}

    def save(self) -> None:
        """Writes the digests of the files that were asked for, if there is anything new."""
        if not self._used or self._used == self._known:
            return
        try:
            os.makedirs(os.path.dirname(self._file), exist_ok=True)
            home.write_json(self._file, self._used, private=True)
        except OSError:
            return  # a full or read-only home only costs the next call its time
