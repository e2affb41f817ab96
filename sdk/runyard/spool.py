"""What a script logs, written to a local file at once: one JSON array per line, shipped by others.

A call costs a few microseconds, waits for no network and raises only for a wrong value. Lines are

- ``["s", name, value, time]`` or ``["s", name, value, time, step]``: a scalar,
- ``["e", name, type, value, time]``: a list, table, image, ... (``type`` in Azure's words),
- ``["d", name, text]``: a metric's description,
- ``["t", key, value]`` and ``["p", key, value]``: a tag and a property of the run.

Values are exact: floats as ``repr`` writes them, with NaN, Infinity and -Infinity as Python's json
reads them.
"""

import errno
import json
import os
import sys
import threading
import time
import weakref
from typing import Any, Callable, Dict, List, Optional, Set, Tuple, Union

from runyard.errors import UserErrorException

SUFFIX = ".metrics"
LOST_SUFFIX = ".lost"
HURRY = "hurry"  # a file beside the spools: a script waits until what it has logged is stored
NAME_LENGTH = 255
LINE_BYTES = 15 << 20  # the server takes 16 MiB at once
_CACHED_NAMES = 10000
_INT64 = range(-(1 << 63), 1 << 63)
_STEPS = range(-(1 << 63) + 1, 1 << 63)  # the server's mark for "no step" is the one left out

Scalar = Union[int, float, str, bool]


def check_name(name: Any, what: str = "metric") -> str:
    """Returns ``name`` if a metric, tag or property may have it.

    Raises:
        UserErrorException: not a string of 1 to 255 characters, or with a control character in it.
    """
    if not isinstance(name, str):
        raise UserErrorException(
            "The name of a {} must be a string, not {}: {!r:.100}.".format(what, type(name).__name__, name)
        )
    if not 1 <= len(name) <= NAME_LENGTH:
        raise UserErrorException(
            "The name of a {} must have 1 to {} characters; this one has {}: {!r:.60}.".format(
                what, NAME_LENGTH, len(name), name
            )
        )
    if any(ord(letter) < 32 or 0xD800 <= ord(letter) <= 0xDFFF for letter in name):
        raise UserErrorException(
            "The name of a {} may not hold control characters or broken text: {!r:.100}.".format(what, name)
        )
    return name


class Spool:
    """The file that one process appends to: ``<directory>/<writer>.metrics``.

    Every Spool has a file of its own: where the name is taken, by another process or by the parent
    of a forked one, ``-2``, ``-3`` ... is added. The file is made with the first record; one whose
    last line a full disk cut short is left, and the next begun. Threads may share a Spool. A disk
    that is full or gone is told once on stderr; ``lost`` counts what could not be written, and the
    size of ``<writer>.lost`` its bytes: a file that has a length and no content, which a full disk
    still takes. Who ships the spool tells it to the run.

    Args:
        directory: an existing folder.
        writer: plain file name without its ending, e.g. ``"rank-0"``.
        now: gives the time in seconds since the epoch.
    """

    def __init__(self, directory: str, writer: str, now: Callable[[], float] = time.time) -> None:
        self.directory = str(directory)
        self.writer = writer
        self.lost = 0
        self.path = ""  # of the file, once there is one
        self._fd = -1  # -1: no file yet; writing fails with EBADF, and _recover opens one
        self._left: List[int] = []
        self._lost_bytes = 0
        self._lost_fd = -1
        self._told = False
        self._now = now
        self._heads: Dict[str, str] = {}
        self._described: Set[Tuple[str, str]] = set()
        self._lock = threading.Lock()
        _LIVING.add(self)

    def scalar(self, name: str, value: Scalar, step: Optional[int] = None) -> None:
        """Appends one point.

        Raises:
            UserErrorException: the name is against the rules, or ``value`` or ``step`` is an
                integer beyond 64 bits, or neither is what the signature says.
        """
        try:
            head = self._heads[name]
        except (KeyError, TypeError):
            head = self._head(name)
        if type(value) is float:
            text = repr(value)
            if text[-1] in "nf":
                text = _NOT_FINITE[text]
        else:
            text = scalar_text(name, value)
        if step is None:
            line = f"{head}{text},{self._now()!r}]\n".encode()
        else:
            if type(step) is not int or step not in _STEPS:
                step = _checked_step(name, step)
            line = f"{head}{text},{self._now()!r},{step}]\n".encode()
        try:
            if os.write(self._fd, line) == len(line):
                return
        except OSError:
            self._recover(line)
            return
        self._recover(line, torn=True)

    def entry(self, name: str, type_: str, value: Any) -> None:
        """Appends what is not a number: ``value`` is plain JSON (NaN and infinities allowed).

        Raises:
            UserErrorException: the name is against the rules, or the value is larger than 15 MiB.
        """
        self._append(["e", check_name(name), type_, value, self._now()])

    def describe(self, name: str, text: str) -> None:
        """Appends a metric's description, unless it was appended already."""
        if (name, text) not in self._described:
            self._append(["d", check_name(name), str(text)])
            self._described.add((name, text))

    def tag(self, key: str, value: Optional[str]) -> None:
        """Appends a tag of the run; None is the empty tag."""
        self._append(["t", check_name(key, "tag"), value])

    def property(self, key: str, value: str) -> None:
        """Appends a property of the run."""
        self._append(["p", check_name(key, "property"), value])

    def close(self) -> None:
        """Closes the file. A later record opens a new one."""
        with self._lock:
            self._close_files()

    def _append(self, record: Any) -> None:
        line = (json.dumps(record, separators=(",", ":")) + "\n").encode("ascii")
        if len(line) > LINE_BYTES:
            raise UserErrorException(
                "'{}' is too large to log: {:,} bytes, at most {:,} are allowed. Write it to a file under "
                "./outputs, or upload it with run.upload_file().".format(record[1], len(line), LINE_BYTES)
            )
        try:
            written = os.write(self._fd, line)
        except OSError:
            self._recover(line)
            return
        if written != len(line):
            self._recover(line, torn=True)

    def _head(self, name: str) -> str:
        if len(self._heads) >= _CACHED_NAMES:
            self._heads.clear()
        head = self._heads[name] = '["s",' + json.dumps(check_name(name)) + ","
        return head

    def _recover(self, line: bytes, torn: bool = False) -> None:
        """Writes ``line`` the slow way, after the quick write failed or wrote a part only."""
        with self._lock:
            if torn:
                self._leave_file()
            try:
                if self._fd < 0:
                    self._open()
                if os.write(self._fd, line) != len(line):
                    self._leave_file()
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as problem:
                self.lost += 1
                self._lost_bytes += len(line)
                self._tell(problem)
                self._count_lost()

    def _tell(self, problem: OSError) -> None:
        if self._told:
            return
        try:
            sys.stderr.write(
                "runyard: metrics cannot be written to {} ({}). The script goes on; what it logs "
                "is lost until there is room again.\n".format(self.directory, problem.strerror or problem)
            )
            self._told = True
        except (OSError, ValueError, AttributeError):
            return  # the same full disk, or a script without stderr: logging raises for neither

    def _count_lost(self) -> None:
        """Leaves the number of lost bytes where it outlives this process."""
        try:
            if self._lost_fd < 0:
                self._lost_fd, _ = self._new_file(LOST_SUFFIX)
            os.ftruncate(self._lost_fd, self._lost_bytes)
        except OSError:
            return  # the folder is gone, or takes not even a name: stderr has told it

    def _leave_file(self) -> None:
        """Goes on in a new file: this one ends with a part of a line, which its reader leaves out."""
        if self._fd >= 0:
            # Not closed yet: another thread may be about to write to the number, and it must not be somebody else's.
            self._left.append(self._fd)
            self._fd = -1

    def _open(self) -> None:
        self._fd, self.path = self._new_file(SUFFIX)

    def _new_file(self, suffix: str) -> Tuple[int, str]:
        """A file of this Spool's own, under the first name that is free: descriptor and path."""
        number = 1
        while True:
            stem = self.writer if number == 1 else "{}-{}".format(self.writer, number)
            path = os.path.join(self.directory, stem + suffix)
            try:
                return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600), path
            except FileExistsError:
                number += 1

    def _close_files(self) -> None:
        self._leave_file()
        left, self._left = self._left, []
        if self._lost_fd >= 0:
            left.append(self._lost_fd)
            self._lost_fd, self._lost_bytes = -1, 0  # what is lost later is counted in a file of its own
        for fd in left:
            os.close(fd)

    def _forget_parent(self) -> None:
        self._lock = threading.Lock()  # the parent's may have been held by a thread that is not here
        self._described = set()
        self.lost, self._told = 0, False
        self._close_files()


_NOT_FINITE = {"nan": "NaN", "-nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_LIVING: "weakref.WeakSet[Spool]" = weakref.WeakSet()


def scalar_text(name: str, value: Any) -> str:
    """A scalar other than a float as it stands in a line.

    Raises:
        UserErrorException: it is no scalar, or an integer beyond 64 bits.
    """
    kind = type(value)
    if kind is int:
        if value in _INT64:
            return str(value)
        raise UserErrorException(
            "Metric '{}': an integer of more than 64 bits cannot be logged; log it as float(value) or as text.".format(
                name
            )
        )
    if kind is bool or kind is str:
        text = json.dumps(value)
        if len(text) > LINE_BYTES:
            raise UserErrorException(
                "The text of metric '{}' is too large: at most {:,} bytes.".format(name, LINE_BYTES)
            )
        return text
    raise UserErrorException("The value of metric '{}' must be a number or text, not {}.".format(name, kind.__name__))


def _checked_step(name: str, step: Any) -> int:
    try:
        number = step.__index__() if hasattr(step, "__index__") else int(step) if int(step) == step else None
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or number not in _STEPS:
        raise UserErrorException(
            "The step of metric '{}' must be an integer of at most 64 bits, not {!r:.60}.".format(name, step)
        )
    return int(number)


def _after_fork() -> None:
    for spool in list(_LIVING):
        spool._forget_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
