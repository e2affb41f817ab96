"""Rows of registered models. ``add`` gives out version numbers: each once, also to two callers at one moment."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    delete,
    exists,
    func,
    insert,
    select,
    tuple_,
    type_coerce,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from runyard.protocol.codec import from_json, to_json
from runyard.protocol.files import FileEntry
from runyard.protocol.models import ModelRecord
from runyard_server.records.tables import model_numbers, models
from runyard_server.records.upserts import put

_IS_VERSION = models.c.version > 0  # see ``name``


@dataclass(frozen=True)
class ModelFilter:
    """Which models a list holds; what is None or empty does not matter.

    Attributes:
        tags, properties: a key to the value that it must have, or to None for any value.
        latest: of each name only the newest of those that match.
        before: the last model of the page before (creation time, name, version).
    """

    name: str | None = None
    version: int | None = None
    tags: Mapping[str, str | None] = field(default_factory=dict)
    properties: Mapping[str, str | None] = field(default_factory=dict)
    run_id: str | None = None
    framework: str | None = None
    latest: bool = False
    before: tuple[float, str, int] | None = None
    limit: int = 1000


def add(connection: Connection, record: ModelRecord, request_id: str | None = None) -> ModelRecord:
    """Inserts ``record`` as the next version of its name, or as the version that it has; gives it with its id.

    A ``request_id`` that this name has seen gives the version that was made for it, and no new one; so does a version
    that is here.
    """
    lock(connection, record.name)
    if request_id is not None:
        seen = models.c.name == record.name, models.c.request_id == request_id
        row = connection.execute(select(models).where(*seen)).mappings().first()
        if row is not None:
            return _record(row)
    if record.version:
        there = get(connection, record.name, record.version)
        if there is not None:
            return there
        _pass_version(connection, record.name, record.version)
    version = record.version or _next_version(connection, record.name)
    stored = replace(record, version=version, id=f"{record.name}:{version}")
    values = {key: value for key, value in to_json(stored).items() if key != "id"}
    connection.execute(insert(models).values(request_id=request_id, **values))
    return stored


def get(connection: Connection, name: str, version: int | None = None) -> ModelRecord | None:
    """One version of a model, the newest where ``version`` is None."""
    query = select(models).where(models.c.name == name, _IS_VERSION)
    if version is not None:
        query = query.where(models.c.version == version)
    row = connection.execute(query.order_by(models.c.version.desc()).limit(1)).mappings().first()
    return _record(row) if row else None


def list_matching(connection: Connection, wanted: ModelFilter) -> Sequence[ModelRecord]:
    """Models that match, newest first. Their ``files`` are left out: ask for one model to have them."""
    columns = [column for column in models.c if column.name not in ("files", "request_id")]
    conditions = [_IS_VERSION, *_conditions(connection, wanted)]
    query: Select[Any] = select(*columns).where(*conditions)
    if wanted.latest:
        newest = select(models.c.name, func.max(models.c.version)).where(*conditions).group_by(models.c.name)
        query = query.where(tuple_(models.c.name, models.c.version).in_(newest))
    order = (models.c.created_at, models.c.name, models.c.version)
    if wanted.before is not None:
        query = query.where(tuple_(*order) < tuple_(*wanted.before))
    rows = connection.execute(query.order_by(*(column.desc() for column in order)).limit(wanted.limit)).mappings()
    return [_record(row) for row in rows]


def change(connection: Connection, name: str, version: int, values: Mapping[str, Any]) -> None:
    connection.execute(update(models).where(models.c.name == name, models.c.version == version).values(**values))


def remove(connection: Connection, name: str, version: int) -> bool:
    """Whether there was such a version. Its number is never given again."""
    done = connection.execute(delete(models).where(models.c.name == name, models.c.version == version))
    return done.rowcount > 0


def names(connection: Connection, limit: int) -> Sequence[str]:
    """Names of the models that are there, in order."""
    query = select(models.c.name).where(_IS_VERSION).distinct().order_by(models.c.name).limit(limit)
    rows = connection.execute(query)
    return [str(name) for (name,) in rows]


def versions(connection: Connection, name: str, limit: int) -> Sequence[int]:
    """Versions of a model that are there, newest first."""
    query = (
        select(models.c.version)
        .where(models.c.name == name, _IS_VERSION)
        .order_by(models.c.version.desc())
        .limit(limit)
    )
    return [int(version) for (version,) in connection.execute(query)]


# What is said of a name itself, with or without versions of it: a row whose version is 0.


def name(connection: Connection, name: str) -> ModelRecord | None:
    """What is said of a name: its tags and description, and in ``properties`` its aliases, each with a version."""
    row = connection.execute(select(models).where(models.c.name == name, ~_IS_VERSION)).mappings().first()
    return _record(row) if row else None


def told_names(connection: Connection) -> dict[str, ModelRecord]:
    """The same of every name of which something is said."""
    return {row["name"]: _record(row) for row in connection.execute(select(models).where(~_IS_VERSION)).mappings()}


def told_of(connection: Connection, names: Collection[str]) -> list[ModelRecord]:
    """The same of those of these names of which something is said."""
    query = select(models).where(models.c.name.in_(names), ~_IS_VERSION)
    return [_record(row) for row in connection.execute(query).mappings()]


def put_name(connection: Connection, record: ModelRecord) -> None:
    """Says something of a name, in place of what was said before; call it on a locked name."""
    values = {key: value for key, value in to_json(replace(record, version=0)).items() if key != "id"}
    put(connection, models, [values])


def all_names(connection: Connection) -> Sequence[tuple[str, float, float]]:
    """Every name with versions or words of its own, in order; when the first and the last of these were made."""
    at = models.c.created_at
    query = select(models.c.name, func.min(at), func.max(at)).group_by(models.c.name).order_by(models.c.name)
    return [(str(row[0]), float(row[1]), float(row[2])) for row in connection.execute(query)]


def rename(connection: Connection, before: str, after: str) -> None:
    """Gives all versions of a name, and its count of versions, to a name that has none; call it on both locked."""
    connection.execute(update(models).where(models.c.name == before).values(name=after))
    count = select(model_numbers.c.last_version).where(model_numbers.c.name == before).scalar_subquery()
    connection.execute(update(model_numbers).where(model_numbers.c.name == after).values(last_version=count))


def remove_name(connection: Connection, name: str) -> None:
    """Forgets a name with all of its versions. Their numbers are never given again."""
    connection.execute(delete(models).where(models.c.name == name))


def lock(connection: Connection, name: str) -> None:
    """Makes others that lock or add to this name wait until the transaction ends; call inside ``write``."""
    insert_ = postgresql_insert if connection.dialect.name == "postgresql" else sqlite_insert
    key = [model_numbers.c.name]
    # An update that changes nothing takes the row's lock; an insert makes others wait at the unique key.
    unchanged = {"last_version": model_numbers.c.last_version}
    statement = insert_(model_numbers).values(name=name, last_version=0)
    connection.execute(statement.on_conflict_do_update(index_elements=key, set_=unchanged))


def _next_version(connection: Connection, name: str) -> int:
    number = update(model_numbers).where(model_numbers.c.name == name)
    number = number.values(last_version=model_numbers.c.last_version + 1)
    return int(connection.execute(number.returning(model_numbers.c.last_version)).scalar_one())


def _pass_version(connection: Connection, name: str, version: int) -> None:
    """Versions count on from this one, where they have not come that far."""
    behind = model_numbers.c.name == name, model_numbers.c.last_version < version
    connection.execute(update(model_numbers).where(*behind).values(last_version=version))


def _conditions(connection: Connection, wanted: ModelFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    for column, value in (
        (models.c.name, wanted.name),
        (models.c.version, wanted.version),
        (models.c.run_id, wanted.run_id),
        (models.c.framework, wanted.framework),
    ):
        if value is not None:
            conditions.append(column == value)
    for column, pairs in ((models.c.tags, wanted.tags), (models.c.properties, wanted.properties)):
        conditions.extend(_has(connection, column, key, value) for key, value in pairs.items())
    return conditions


def _has(connection: Connection, column: Any, key: str, value: str | None) -> ColumnElement[bool]:
    """Whether the JSON object in ``column`` has ``key``, with ``value`` unless that is None; any key is allowed."""
    if connection.dialect.name == "postgresql":
        stored = type_coerce(column, JSONB)
        return stored.has_key(key) if value is None else stored.contains({key: value})
    pairs = func.json_each(column).table_valued("key", "value")
    matches = pairs.c.key == key
    return exists(select(1).select_from(pairs).where(matches if value is None else matches & (pairs.c.value == value)))


def _record(row: Mapping[Any, Any]) -> ModelRecord:
    values = {key: value for key, value in row.items() if key != "request_id"}
    values["datasets"] = values["datasets"] or []
    values["files"] = [from_json(FileEntry, item) for item in values.get("files", [])]
    return ModelRecord(id=f"{values['name']}:{values['version']}", **values)
