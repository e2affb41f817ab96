"""Logs: append-only files by run and name, while they grow and after."""

import builtins
import errno
import os
import shutil
import stat
import threading
from pathlib import Path

from runyard.errors import (
    FileNotInRunError,
    OffsetGapError,
    PathRefusedError,
    RunException,
    StorageFullError,
    UserErrorException,
)
from runyard_server.domain import paths
from runyard_server.records import runs
from runyard_server.records.engine import Database
from runyard_server.services.hub import Change, Hub

BODY_BYTES = 16 << 20
READ_BYTES = 8 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_NAME = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)


class LogService:
    """Takes and gives logs. The file itself is the truth of what is stored.

    Args:
        root: holds ``<run id>/<log name>``.
        hub: is told of every run whose log grew.
    """

    def __init__(self, root: Path, database: Database, hub: Hub) -> None:
        self._root = root
        self._database = database
        self._hub = hub
        self._locks = [threading.Lock() for _ in range(64)]

    def append(self, run_id: str, name: str, offset: int, body: bytes) -> int:
        """Stores bytes that begin at byte ``offset`` of the log; what is stored already is skipped.

        Returns:
            The log's stored size: where the next bytes begin.
        Raises:
            OffsetGapError: bytes before ``offset`` are missing; ``details["size"]`` is what is stored.
            PathRefusedError: the name is none that a log can have.
            RunException: the run has ended, and a retention rule removed its files and logs.
            StorageFullError: the disk has no room.
            UserErrorException: more than 16 MiB at once.
        """
        if len(body) > BODY_BYTES:
            raise UserErrorException(f"At most {BODY_BYTES:,} bytes of a log are taken at once, not {len(body):,}.")
        if offset < 0:
            raise UserErrorException(f"An offset is 0 or more, not {offset}.")
        path = self.path(run_id, name)
        with self._locks[hash((run_id, name)) % len(self._locks)]:
            descriptor = self._open(run_id, path, name, offset)
            try:
                size = os.fstat(descriptor).st_size
                if offset > size:
                    raise _gap(name, size, offset)
                new = memoryview(body)[size - offset :]
                grows = len(new) > 0
                while new:
                    written = os.pwrite(descriptor, new, size)
                    size += written
                    new = new[written:]
            except OSError as problem:
                raise _told(problem, name) from problem
            finally:
                os.close(descriptor)
        if grows:
            self._hub.publish(run_id, Change(grown=name))
        return size

    def read(self, run_id: str, name: str, offset: int = 0, limit: int = READ_BYTES) -> bytes:
        """At most ``limit`` bytes (8 MiB where more is asked for) from ``offset``; b"" at the end.

        Raises:
            FileNotInRunError: the run has no such log.
        """
        if offset < 0 or limit < 0:
            raise UserErrorException("offset and limit are 0 or more.")
        path = self.path(run_id, name)
        try:
            with path.open("rb", buffering=0) as file:
                if offset >= os.fstat(file.fileno()).st_size:
                    return b""  # nor can be sought for, where it is beyond what a file can have
                file.seek(offset)
                return file.read(min(limit, READ_BYTES)) or b""
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            there = ", ".join(name for name, _ in self.list(run_id)) or "none so far"
            raise FileNotInRunError(f"Run {run_id} has no log {name!r}. Its logs: {there}.") from None

    def size(self, run_id: str, name: str) -> int:
        """Bytes stored of the log; 0 where there is none."""
        try:
            return self.path(run_id, name).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return 0

    def grown_at(self, run_id: str, name: str) -> float | None:
        """When the log last grew, in seconds since the epoch; None where nothing of it lies here."""
        try:
            return self.path(run_id, name).stat().st_mtime
        except (FileNotFoundError, NotADirectoryError):
            return None

    def list(self, run_id: str) -> list[tuple[str, int]]:
        """Name and stored size of each of the run's logs, in order of name. Empty where nothing was logged."""
        root = self._folder(run_id)
        found = []
        for folder, _, files in os.walk(root):
            for file in files:
                path = os.path.join(folder, file)
                try:
                    state = os.lstat(path)
                except FileNotFoundError:  # the run was closed meanwhile
                    continue
                if stat.S_ISREG(state.st_mode):
                    found.append((os.path.relpath(path, root).replace(os.sep, "/"), state.st_size))
        if not found:
            self.check_run(run_id)
        return sorted(found)

    def path(self, run_id: str, name: str) -> Path:
        """Where the log lies."""
        return paths.inside(self._folder(run_id), name, "log's name")

    def run_ids(self) -> builtins.list[str]:
        """Ids of the runs of which logs lie here."""
        return os.listdir(self._root) if self._root.is_dir() else []

    def remove(self, run_id: str) -> None:
        """Removes the run's logs, once they are kept elsewhere."""
        shutil.rmtree(self._folder(run_id), ignore_errors=True)

    def _folder(self, run_id: str) -> Path:
        if "/" in run_id:
            raise PathRefusedError(f"{run_id!r} is no run id: there is a '/' in it.")
        return paths.inside(self._root, run_id, "run id")

    def _open(self, run_id: str, path: Path, name: str, offset: int) -> int:
        # Only bytes from 0 on make a file: what is refused leaves no empty log behind.
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (0 if offset else os.O_CREAT)
        try:
            return os.open(path, flags, 0o600)
        except FileNotFoundError:
            self._check_takes_logs(run_id, name)  # only now: the folder of a run that is known is not asked for again
            if offset:
                raise _gap(name, 0, offset) from None
        except OSError as problem:
            raise _told(problem, name) from problem
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(path, flags, 0o600)
        except OSError as problem:
            raise _told(problem, name) from problem

    def _check_takes_logs(self, run_id: str, name: str) -> None:
        """A log that comes after a rule took the run's files would be no file of it, and gone with the next start."""
        with self._database.read() as connection:
            run = runs.get(connection, run_id)
        if run.files_removed_at is not None:
            raise RunException(
                f"The log {name[:200]} is not kept: the run has ended, and a retention rule removed its files and logs. "
                "What is still to be kept of it can be uploaded as a file."
            )

    def check_run(self, run_id: str) -> None:
        """Raises UnknownRunError where there is no such run."""
        with self._database.read() as connection:
            runs.get(connection, run_id)


def _gap(name: str, size: int, offset: int) -> OffsetGapError:
    return OffsetGapError(
        f"The log {name} is stored up to byte {size}; bytes from {offset} would leave a gap.", {"size": size}
    )


def _told(problem: OSError, name: str) -> Exception:
    """The storage's error as one of ours, or as it is."""
    if problem.errno in _FULL:
        return StorageFullError(
            f"The log {name} cannot be stored: the server's disk is full. Make room, and it goes on."
        )
    if problem.errno in _NO_NAME:
        return PathRefusedError(
            f"The log's name {name[:200]!r} is refused: too long, or a folder and a log would share a name."
        )
    return problem
