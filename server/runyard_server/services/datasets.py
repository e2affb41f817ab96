"""What may be asked of datasets: keep, find, change, unregister. Versions count up by name and are never reused."""

import re
import uuid
from collections.abc import Callable, Sequence

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from runyard.errors import DatasetException, UnknownDatasetError, UserErrorException
from runyard.names import check_dataset_name, checked_pairs
from runyard.protocol.datasets import (
    FILE,
    TABULAR,
    DatasetChanges,
    DatasetDefinition,
    DatasetOutput,
    DatasetRecord,
    DatasetSource,
    DatasetSpec,
)
from runyard.protocol.runs import RunRecord
from runyard_server.domain import paths
from runyard_server.domain.clock import Clock
from runyard_server.records import datasets as records
from runyard_server.records.engine import Database

_SHOWN = 20  # names in a message
_ATTEMPTS = 10  # registrations of one name that may collide at one moment
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ADDRESS = re.compile(r"(?:https?|ftp)://\S+", re.IGNORECASE)
_OUTPUTS = uuid.UUID("6f1c6a0e-3b1b-5d0f-9a55-0d6f0c5b7c11")  # the ids of what runs put out are made in its name


class DatasetService:
    """What may be asked of datasets.

    Args:
        check_datastore: raises UnknownDatastoreError for a name that the workspace does not have.
    """

    def __init__(self, database: Database, clock: Clock, check_datastore: Callable[[str], object]) -> None:
        self._database = database
        self._clock = clock
        self._check_datastore = check_datastore

    def keep(self, spec: DatasetSpec, run_id: str | None = None) -> DatasetRecord:
        """Keeps a dataset: as a version of its name, or by its id alone.

        What is the newest version already gives that version, with the new description and tags. An id that was seen
        before gives what was kept under it: the request came twice.

        Raises:
            DatasetException: a name or id against the rules, a definition that says nothing, or a name that is taken
                and ``create_new_version`` is False.
            UnknownDatastoreError: a place on a datastore that is not here.
        """
        if not _ID.fullmatch(spec.id):
            raise DatasetException(f"{spec.id[:60]!r} is no id of a dataset: it is a UUID in small letters.")
        if spec.name is not None:
            check_dataset_name(spec.name)
        self._check(spec.definition)
        tags = checked_pairs(spec.tags)
        for _ in range(_ATTEMPTS):
            try:
                with self._database.write() as connection:
                    return self._kept(connection, spec, tags, run_id)
            except IntegrityError:
                continue  # somebody registered that version at the same moment: look again
        raise DatasetException(f"The dataset {spec.name!r} is being registered by many at once. Try again.")

    def keep_output(self, run: RunRecord, output: DatasetOutput) -> DatasetRecord:
        """Registers what a run has put out, as a new version of the name that it was to have; once, however often called."""
        check_dataset_name(output.name)
        definition = DatasetDefinition(FILE, [DatasetSource(output.datastore, output.path)])
        self._check(definition)
        dataset_id = str(uuid.uuid5(_OUTPUTS, f"{run.id}/{output.output_name}"))
        for _ in range(_ATTEMPTS):
            try:
                with self._database.write() as connection:
                    there = records.find(connection, dataset_id)
                    if there is not None:
                        return there
                    version = records.last_version(connection, output.name) + 1
                    record = DatasetRecord(
                        id=dataset_id,
                        definition=definition,
                        created_at=self._clock.now(),
                        name=output.name,
                        version=version,
                        description=output.description,
                        tags=checked_pairs(output.tags),
                        run_id=run.id,
                    )
                    records.add(connection, record)
                    return record
            except IntegrityError:
                continue
        raise DatasetException(f"The dataset {output.name!r} is being registered by many at once. Register it again.")

    def get(self, name: str, version: int | None = None) -> DatasetRecord:
        """One version of a dataset, the newest where ``version`` is None.

        Raises:
            UnknownDatasetError: there is none; says which names or versions there are.
        """
        with self._database.read() as connection:
            return _existing(connection, name, version)

    def by_id(self, dataset_id: str) -> DatasetRecord:
        """The dataset of that id, whether it has a name or not.

        Raises:
            UnknownDatasetError: there is none.
        """
        with self._database.read() as connection:
            record = records.find(connection, dataset_id)
        if record is None:
            raise UnknownDatasetError(
                f"This workspace keeps no dataset with the id {dataset_id[:60]!r}. dataset.register(workspace, name) keeps "
                "one; Dataset.get_by_name(workspace, name) finds it."
            )
        return record

    def list(self, run_id: str | None = None) -> Sequence[DatasetRecord]:
        """The newest version of each registered name, by name; or what a run registered."""
        with self._database.read() as connection:
            return records.latest(connection) if run_id is None else records.of_run(connection, run_id)

    def versions(self, name: str) -> Sequence[DatasetRecord]:
        """All registered versions of a name, the oldest first.

        Raises:
            UnknownDatasetError: no dataset has that name.
        """
        with self._database.read() as connection:
            found = records.versions(connection, name)
            return found or [_existing(connection, name, None)]

    def change(self, name: str, version: int, changes: DatasetChanges) -> DatasetRecord:
        """Sets and removes tags, describes.

        Raises:
            UnknownDatasetError: no such version.
        """
        with self._database.write() as connection:
            record = _existing(connection, name, version)
            kept = {key: value for key, value in record.tags.items() if key not in set(changes.remove_tags or ())}
            description = record.description if changes.description is None else changes.description
            tags = {**kept, **checked_pairs(changes.tags)}
            records.change(connection, record.id, {"tags": tags, "description": description})
            return _existing(connection, name, version)

    def unregister(self, name: str) -> None:
        """Takes all versions of a name from the lists. The data stays, and runs still know what they used, by its id.

        Raises:
            UnknownDatasetError: no dataset has that name.
        """
        with self._database.write() as connection:
            if not records.unregister(connection, name, self._clock.now()):
                _existing(connection, name, None)

    def _kept(
        self, connection: Connection, spec: DatasetSpec, tags: dict[str, str], run_id: str | None
    ) -> DatasetRecord:
        there = records.find(connection, spec.id)
        if there is not None:
            if there.definition != spec.definition or there.name != spec.name:
                raise DatasetException(f"The id {spec.id!r} belongs to another dataset. Leave the id to the client.")
            return there
        version = None
        if spec.name is not None:
            newest = records.get(connection, spec.name)
            if newest is not None and newest.definition == spec.definition:
                description = newest.description if spec.description is None else spec.description
                values = {"description": description, "tags": {**newest.tags, **tags}}
                records.change(connection, newest.id, values)
                return _existing(connection, spec.name, newest.version)
            if newest is not None and not spec.create_new_version:
                raise DatasetException(
                    f"There is already a dataset registered under name {spec.name!r} (version {newest.version}), and it is "
                    "another one. Specify create_new_version=True to register this as its next version, or give another "
                    "name."
                )
            version = records.last_version(connection, spec.name) + 1
        record = DatasetRecord(
            id=spec.id,
            definition=spec.definition,
            created_at=self._clock.now(),
            name=spec.name,
            version=version,
            description=spec.description,
            tags=tags,
            run_id=run_id,
        )
        records.add(connection, record)
        return record

    def _check(self, definition: DatasetDefinition) -> None:
        if definition.kind not in (FILE, TABULAR):
            raise DatasetException(f"{definition.kind[:60]!r} is no kind of dataset. There are: {FILE}, {TABULAR}.")
        if not definition.sources:
            raise DatasetException("A dataset needs at least one place of files: (datastore, 'folder') or an address.")
        for source in definition.sources:
            if (source.datastore is None) == (source.address is None):
                raise DatasetException("A place of a dataset is a path on a datastore or an address: one of the two.")
            if source.address is not None and not _ADDRESS.fullmatch(source.address):
                raise DatasetException(
                    f"{source.address[:100]!r} is no address that a dataset can have: http, https or ftp."
                )
        for name in {source.datastore for source in definition.sources if source.datastore is not None}:
            self._check_datastore(name)
        for source in definition.sources:
            if source.path:
                paths.relative(source.path, "path of a dataset")


def _existing(connection: Connection, name: str, version: int | None) -> DatasetRecord:
    record = records.get(connection, name, version)
    if record is not None:
        return record
    numbers = [str(each.version) for each in records.versions(connection, name)]
    if numbers:
        raise UnknownDatasetError(
            f"The dataset {name!r} has no version {version}. It has the versions: {', '.join(numbers[-_SHOWN:])}."
        )
    names = [str(each.name) for each in records.latest(connection)]
    there = f"There are: {', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}." if names else "None is."
    raise UnknownDatasetError(
        f"No dataset {name[:100]!r} is registered in this workspace. {there} dataset.register(workspace, name) registers one."
    )


def checked_uses(pairs: Sequence[Sequence[str]]) -> list[list[str]]:
    """A model's links to datasets: pairs of what each was for and its id.

    Raises:
        UserErrorException: something that is no such pair.
    """
    for pair in pairs:
        if len(pair) != 2 or not all(isinstance(part, str) and part for part in pair) or not _ID.fullmatch(pair[1]):
            raise UserErrorException(
                f"A model's datasets are pairs such as ['training', id of a registered dataset]; this is {str(pair)[:100]}."
            )
    return [list(pair) for pair in pairs]
