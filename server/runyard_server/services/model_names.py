"""What may be asked of a model's name itself, whatever versions it has: made, described, renamed, its aliases."""

import builtins
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from runyard.errors import ModelException, ModelNotFoundException
from runyard.names import check_key, check_model_name
from runyard.protocol.models import ModelRecord
from runyard_server.domain.clock import Clock
from runyard_server.records import models as records
from runyard_server.records.engine import Database


@dataclass(frozen=True)
class ModelName:
    """A name of models. ``aliases``: a version by each."""

    name: str
    created_at: float
    changed_at: float
    description: str | None
    tags: dict[str, str]
    aliases: dict[str, int]


class ModelNameService:
    """Names of models. A name that was never described has one all the same, from its first version on."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def create(self, name: str, description: str | None, tags: dict[str, str]) -> ModelName | None:
        """A name without versions; None where it is here.

        Raises:
            ModelException: it is against the rules.
        """
        check_model_name(name)
        with self._database.write() as connection:
            records.lock(connection, name)
            if _find(connection, name) is not None:
                return None
            record = ModelRecord("", name, 0, self._clock.now(), description=description, tags=tags)
            records.put_name(connection, record)
            return _get(connection, name)

    def get(self, name: str) -> ModelName:
        """Raises ModelNotFoundException where there is neither such a name nor a version of it."""
        with self._database.read() as connection:
            return _get(connection, name)

    def list(self) -> Sequence[ModelName]:
        """All names, in order."""
        with self._database.read() as connection:
            said = records.told_names(connection)
            return [_told(name, first, last, said.get(name)) for name, first, last in records.all_names(connection)]

    def aliases(self, names: Collection[str]) -> dict[tuple[str, int], builtins.list[str]]:
        """The aliases that stand for versions of these names, in order, by name and version."""
        found: dict[tuple[str, int], list[str]] = {}
        with self._database.read() as connection:
            for said in records.told_of(connection, names):
                for alias, version in sorted(said.properties.items()):
                    found.setdefault((said.name, int(version)), []).append(alias)
        return found

    def change(
        self,
        name: str,
        description: str | None = None,
        tags: dict[str, str] | None = None,
        remove_tag: str | None = None,
    ) -> ModelName:
        """Describes a name, sets and removes tags. Raises ModelNotFoundException."""
        with self._database.write() as connection:
            record = self._locked(connection, name)
            kept = {key: value for key, value in record.tags.items() if key != remove_tag}
            for key in tags or ():
                check_key(key)
            record = replace(record, tags={**kept, **(tags or {})})
            if description is not None:
                record = replace(record, description=description, changed_at=self._clock.now())
            records.put_name(connection, record)
            return _get(connection, name)

    def set_alias(self, name: str, alias: str, version: int | None) -> None:
        """Lets an alias stand for a version; None: for none any more.

        Raises:
            ModelNotFoundException: no such name or version.
        """
        check_key(alias, "alias")
        with self._database.write() as connection:
            record = self._locked(connection, name)
            if version is not None and records.get(connection, name, version) is None:
                raise ModelNotFoundException(f"ModelNotFound: Model {name!r} has no version {version}.")
            kept = {key: value for key, value in record.properties.items() if key != alias}
            aliases = kept if version is None else {**kept, alias: str(version)}
            records.put_name(connection, replace(record, properties=aliases))

    def rename(self, name: str, to: str) -> ModelName:
        """Gives a name with all of its versions another one.

        Raises:
            ModelException: that one is taken or against the rules.
            ModelNotFoundException: no such name.
        """
        check_model_name(to)
        with self._database.write() as connection:
            for each in sorted({name, to}):  # two that rename crosswise wait for each other in one order
                records.lock(connection, each)
            _get(connection, name)
            if to != name:
                if _find(connection, to) is not None:
                    raise ModelException(f"A model named {to!r} is here already.")
                records.rename(connection, name, to)
                self._note_change(connection, to)
            return _get(connection, to)

    def note_change(self, name: str) -> None:
        """Says that its versions have become others. Raises ModelNotFoundException."""
        with self._database.write() as connection:
            self._note_change(connection, name)

    def delete(self, name: str) -> None:
        """Forgets a name with all of its versions. Raises ModelNotFoundException."""
        with self._database.write() as connection:
            records.lock(connection, name)
            _get(connection, name)
            records.remove_name(connection, name)

    def _note_change(self, connection: Connection, name: str) -> None:
        records.put_name(connection, replace(self._locked(connection, name), changed_at=self._clock.now()))

    def _locked(self, connection: Connection, name: str) -> ModelRecord:
        """What is said of a name, to be changed."""
        records.lock(connection, name)
        known = _get(connection, name)
        return records.name(connection, name) or ModelRecord("", name, 0, known.created_at)


def _find(connection: Connection, name: str) -> ModelName | None:
    said, newest = records.name(connection, name), records.get(connection, name)
    if said is None and newest is None:
        return None
    times = [record.created_at for record in (said, newest) if record is not None]
    return _told(name, min(times), max(times), said)


def _get(connection: Connection, name: str) -> ModelName:
    found = _find(connection, name)
    if found is None:
        raise ModelNotFoundException(f"ModelNotFound: There is no model {name!r} in this workspace.")
    return found


def _told(name: str, first: float, last: float, said: ModelRecord | None) -> ModelName:
    return ModelName(
        name=name,
        created_at=first,
        changed_at=max(last, (said.changed_at if said else None) or last),
        description=said.description if said else None,
        tags=said.tags if said else {},
        aliases={key: int(value) for key, value in said.properties.items()} if said else {},
    )
