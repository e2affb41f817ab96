"""Digests of local files, remembered for the larger ones: an unchanged file is not read twice."""

import hashlib
import os
import time
from typing import Any, Dict, List, NamedTuple, Optional

from runyard import home
from runyard.copying import copied, in_order, reader
from runyard.protocol.digest import LARGE

_REMEMBER_FROM = 1 << 20  # bytes; below it reading the file again is cheaper than looking it up
_SETTLED_NS = 2 * 10**9  # a file changed this shortly before may change again within the same time stamp
_RULE = 1  # how digests are made; what was remembered under another rule is not used


class LocalFile(NamedTuple):
    """A file of this machine, under the name it has where it is sent. ``size`` in bytes."""

    name: str
    local: str
    size: int
    digest: str
    executable: bool = False


def of_file(path: str) -> str:
    """The digest of the file's bytes.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb", buffering=0) as source:
        return copied(source.fileno())[0]


def is_of_file(digest: str, path: str) -> bool:
    """Whether ``digest`` names the bytes of the file. Raises OSError where it cannot be read."""
    return of_file(path) == digest or is_sha256_of_large(digest, path)


def is_sha256_of_large(digest: str, path: str) -> bool:
    """Whether ``digest`` is the SHA-256 of a large file, by which large contents were named before.

    They lie under that name in homes of that time, and clients and jobs of that time send them so.
    """
    return os.stat(path).st_size >= LARGE and sha256_of_file(path) == digest


def sha256_of_file(path: str) -> str:
    """The file's SHA-256 in hex, whatever its size. Raises OSError where it cannot be read."""
    with open(path, "rb", buffering=0) as source:
        return in_order(reader(source.fileno()), os.fstat(source.fileno()).st_size)[0]


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

    def digest(self, path: str, stat: os.stat_result) -> str:
        """The digest of the file at ``path``, whose ``stat`` was taken just before."""
        if stat.st_size < _REMEMBER_FROM:
            return of_file(path)
        if self._known is None:
            self._known = self._load()
        absolute = os.path.abspath(path)
        mark = [_RULE, stat.st_size, stat.st_mtime_ns, stat.st_ino]
        known = self._known.get(absolute)
        if isinstance(known, list) and len(known) == 5 and known[:4] == mark:
            self._used[absolute] = known
            return str(known[4])
        settled = stat.st_mtime_ns < time.time() * 1e9 - _SETTLED_NS
        digest = of_file(path)
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
