"""A run's logs wherever they lie: growing while it lives, among its files afterwards."""

from collections.abc import Sequence
from typing import Protocol

from runyard.errors import FileNotInRunError
from runyard_server.services.logs import LogService

_FOLDERS = ("azureml-logs/", "logs/")


class StoredFiles(Protocol):
    """What reading needs of the files of runs."""

    def sizes(self, run_id: str, below: Sequence[str]) -> Sequence[tuple[str, int]]: ...

    def read(self, run_id: str, path: str, offset: int, limit: int) -> bytes: ...


class ReadingService:
    """Reads logs by offset without having to know whether the run has ended."""

    def __init__(self, logs: LogService, files: StoredFiles) -> None:
        self._logs = logs
        self._files = files

    def list(self, run_id: str) -> list[tuple[str, int]]:
        """Name and size of every log, live or stored, by name."""
        found = dict(self._files.sizes(run_id, _FOLDERS))
        found.update(self._logs.list(run_id))
        return sorted((name, size) for name, size in found.items() if is_log(name))

    def read(self, run_id: str, name: str, offset: int, limit: int) -> bytes:
        """At most ``limit`` bytes from ``offset``.

        Raises:
            FileNotInRunError: the run has no such log.
        """
        try:
            return self._logs.read(run_id, name, offset, limit)
        except FileNotInRunError:
            return self._files.read(run_id, name, offset, limit)


def is_log(name: str) -> bool:
    """Whether a file of a run is one of its logs."""
    return name.startswith(_FOLDERS)
