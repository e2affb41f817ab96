"""Addresses that are read from files of this machine instead: what ``RUNYARD_URL_MAP`` says, and only that.

The variable names a text file. A line is ``address = path``: an address that ends with ``/`` stands for all that is
below it, and its path for a folder; any other stands for itself. See docs/old-notebooks.md.
"""

import os
import re
from typing import Any, Dict, Optional, Tuple
from urllib.parse import unquote, urlsplit, urlunsplit

from runyard.errors import UserErrorException

VARIABLE = "RUNYARD_URL_MAP"

_LINE = re.compile(r"(\S+)\s+=\s+(\S.*)")
_SCHEMES = ("http", "https", "ftp")
_EXAMPLE = "http://host/folder/ = /data/folder/ or http://host/folder/file.gz = /data/file.gz"


class UrlMap:
    """The lines of one file, checked.

    Args:
        path: the file. Relative paths in it start at its folder.
    Raises:
        UserErrorException: it cannot be read, or a line is not what it should be; says which and what is allowed.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(os.path.expanduser(path))
        self._entries: Dict[str, Tuple[str, int]] = {}  # address -> local path, line
        for number, line in enumerate(self._lines(), 1):
            if line.strip() and not line.lstrip().startswith("#"):
                self._take(line.strip(), number)

    def file_for(self, address: str) -> Optional[str]:
        """The local file that stands for ``address``, None where the map says nothing of it.

        Raises:
            urllib.error.URLError: the map names a file that is not there, or ``address`` leads out of its folder.
        """
        try:
            plain = _plain(address)
        except ValueError:  # no address: whoever opens it says what is wrong with it
            return None
        if plain in self._entries and not plain.endswith("/"):
            path, line = self._entries[plain]
            return self._there(address, path, line)
        folders = [entry for entry in self._entries if entry.endswith("/") and plain.startswith(entry)]
        if not folders:
            return None
        folder, line = self._entries[max(folders, key=len)]
        rest = plain[len(max(folders, key=len)) :].partition("?")[0]
        if not rest:
            return None
        parts = unquote(rest).split("/")
        if any(part in ("", ".", "..") or "\x00" in part or os.sep in part for part in parts):
            raise _not_here("{} leads out of the folder {} of {}.".format(address, folder, self.path))
        return self._there(address, os.path.join(folder, *parts), line)

    def _lines(self) -> Any:
        try:
            with open(self.path, encoding="utf-8") as source:
                return source.read().splitlines()
        except (OSError, UnicodeDecodeError) as fault:
            raise UserErrorException(
                "{} names {}, which cannot be read: {}. Name a text file with lines such as {}; or unset {}.".format(
                    VARIABLE, self.path, getattr(fault, "strerror", None) or fault, _EXAMPLE, VARIABLE
                )
            ) from fault

    def _take(self, line: str, number: int) -> None:
        found = _LINE.fullmatch(line)
        if found is None:
            raise self._wrong(number, "{!r} is not 'address = path', with a space on both sides of '='".format(line))
        path = found.group(2)
        try:
            address = _plain(found.group(1))
        except ValueError as fault:
            raise self._wrong(number, "{!r} is no address: {}".format(found.group(1), fault)) from fault
        if "\x00" in path:
            raise self._wrong(number, "a path has no NUL character")
        if urlsplit(address).scheme not in _SCHEMES or not urlsplit(address).netloc:
            raise self._wrong(
                number, "{!r} is no address: it begins with http://, https:// or ftp://".format(found.group(1))
            )
        if re.match(r"[A-Za-z][A-Za-z0-9+.\-]+://", path):
            raise self._wrong(number, "{!r} is an address. What stands for one is a file or folder here".format(path))
        if address in self._entries:
            raise self._wrong(number, "{} stands in line {} already".format(address, self._entries[address][1]))
        local = os.path.join(os.path.dirname(self.path), os.path.expanduser(path))
        if os.path.isdir(local) and not address.endswith("/"):
            raise self._wrong(number, "{} is a folder. End the address with '/' too, or name a file".format(local))
        if os.path.isfile(local) and address.endswith("/"):
            raise self._wrong(number, "{} is a file. Name the whole address, or a folder".format(local))
        self._entries[address] = (os.path.normpath(local), number)

    def _wrong(self, number: int, what: str) -> UserErrorException:
        return UserErrorException(
            "{}, line {}: {}. Such lines are right: {}. (The file is named by {}.)".format(
                self.path, number, what, _EXAMPLE, VARIABLE
            )
        )

    def _there(self, address: str, path: str, line: int) -> str:
        if os.path.isfile(path):
            return path
        raise _not_here(
            "{} is to be read from {}, as line {} of {} says, but there is no such file. Put it there, or change the "
            "line.".format(address, path, line, self.path)
        )


def configured() -> Optional[UrlMap]:
    """The map that the variable names, None where it names none.

    Raises:
        UserErrorException: see UrlMap.
    """
    path = os.environ.get(VARIABLE)
    return UrlMap(path) if path else None


def _plain(address: str) -> str:
    """An address without its fragment; scheme and host, which mean the same in any case, in small letters."""
    parts = urlsplit(address)
    return urlunsplit((parts.scheme.lower(), parts.netloc.lower(), parts.path, parts.query, ""))


def _not_here(why: str) -> OSError:
    from urllib.error import URLError

    return URLError(why)
