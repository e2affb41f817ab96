"""The tokens of Ray clusters: kept in one file that only the server's user can read, apart from all that is shown."""

import threading
from pathlib import Path

from runyard.home import read_json, write_json


class Tokens:
    """A token for each cluster's address. Without a file they last as long as this object."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: dict[str, str] = dict((read_json(str(path)) or {}) if path is not None else {})

    def of(self, address: str) -> str:
        """The cluster's token, "" where it needs none."""
        with self._lock:
            return self._known.get(address, "")

    def keep(self, address: str, token: str) -> None:
        """Keeps a token in the place of any other for that address."""
        with self._lock:
            if self._known.get(address, "") == token:
                return
            self._known[address] = token
            if self._path is not None:
                write_json(str(self._path), self._known, private=True)
