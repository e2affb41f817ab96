"""The workspace itself: its identity and what people call it."""

import uuid
from typing import Any

from runyard.errors import WorkspaceException
from runyard_server.domain.clock import Clock
from runyard_server.records import workspace as records
from runyard_server.records.engine import Database

_CHANGEABLE = frozenset({"location", "friendly_name", "description", "tags", "sku"})


class WorkspaceService:
    """One server serves one workspace; its row is made at the first start."""

    def __init__(self, database: Database, clock: Clock, name: str) -> None:
        self._database = database
        with database.write() as connection:
            records.ensure(connection, str(uuid.uuid4()), name, clock.now())

    def get(self) -> dict[str, Any]:
        """Its id, name, creation time and settings."""
        with self._database.read() as connection:
            return records.get(connection)

    def change(self, changes: dict[str, Any]) -> dict[str, Any]:
        """Sets settings.

        Raises:
            WorkspaceException: a key that is no setting; lists those that are.
        """
        unknown = sorted(set(changes) - _CHANGEABLE)
        if unknown:
            raise WorkspaceException(
                f"A workspace has no setting {', '.join(unknown)}. It has: {', '.join(sorted(_CHANGEABLE))}."
            )
        for key, value in changes.items():
            if not _fits(key, value):
                raise WorkspaceException(
                    f"The setting {key!r} takes {'a dict of texts' if key == 'tags' else 'a text'} or None, "
                    f"not {str(value)[:60]!r}."
                )
        with self._database.write() as connection:
            records.change(connection, changes)
            return records.get(connection)


def _fits(key: str, value: Any) -> bool:
    if value is None:
        return True
    if key == "tags":
        return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
    return isinstance(value, str)
