"""The one path function: every path that comes from a client goes through here.

It rejects, it never cleans: what it lets through is the path that was sent.
"""

import os
import re
import stat
from pathlib import Path

from runyard.errors import PathRefusedError

_REFUSED = re.compile(r"[\x00-\x1f\x7f\\]")
_DRIVE = re.compile(r"^[A-Za-z]:")
MAX_LENGTH = 1024


def relative(path: str, what: str = "path") -> str:
    """Returns ``path`` if it is a plain relative path with ``/`` between its parts.

    Raises:
        PathRefusedError: empty, absolute, a drive, a home (``~``), ``.`` or ``..`` as a part, an
            empty part, a backslash or control character, a part with a space or dot at its end,
            or longer than 1,024 bytes.
    """
    problem = _problem(path)
    if problem:
        raise PathRefusedError(
            f"The {what} {path[:200]!r} is refused: {problem}. Give a relative path such as 'outputs/model', with '/' "
            "between its parts."
        )
    return path


def _problem(path: str) -> str | None:
    if not path:
        return "it is empty"
    try:
        if len(path.encode("utf-8")) > MAX_LENGTH:
            return f"it is longer than {MAX_LENGTH} bytes"
    except UnicodeEncodeError:
        return "it is not valid text"
    if _REFUSED.search(path):
        return "it has a backslash or a control character"
    if path.startswith("/") or _DRIVE.match(path):
        return "it is absolute"
    if path.startswith("~"):
        return "it starts with '~'"
    for part in path.split("/"):
        if part in ("", ".", ".."):
            return "a part of it is empty, '.' or '..'"
        if part != part.rstrip(" .") or part != part.lstrip(" "):
            return "a part of it begins or ends with a space, or ends with a dot"
    return None


def inside(root: Path, path: str, what: str = "path") -> Path:
    """The absolute location of ``path`` below ``root``; links on the way may not lead out.

    Raises:
        PathRefusedError: as ``relative``, or the real location is not below ``root``.
    """
    target = root / relative(path, what)
    if _has_link(str(root), path):
        real_root = os.path.realpath(root)
        real = os.path.realpath(target)
        if real != real_root and not real.startswith(real_root + os.sep):
            raise PathRefusedError(f"The {what} {path!r} is refused: a link on its way leads out of its folder.")
    return target


def _has_link(root: str, path: str) -> bool:
    """Whether a part of ``path`` is a link. Where none is, the real location needs no looking up, which costs a call
    of the system for each part of ``root`` as well, several times."""
    place = root
    for part in path.split("/"):
        place = f"{place}{os.sep}{part}"
        try:
            if stat.S_ISLNK(os.lstat(place).st_mode):
                return True
        except (FileNotFoundError, NotADirectoryError):  # nor is anything below it
            return False
        except OSError:
            return True  # it may be one
    return False
