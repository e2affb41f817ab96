"""What may be asked of models: register, find, change, delete. Versions count up by name and are never reused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from runyard.errors import (
    FileNotInRunError,
    ModelException,
    ModelNotFoundException,
    ModelPathNotFoundException,
    UserErrorException,
)
from runyard.names import check_model_name, checked_pairs
from runyard.protocol.files import FileEntry, Manifest, ManifestAnswer
from runyard.protocol.models import FRAMEWORKS, ModelChanges, ModelRecord, ModelSpec
from runyard_server.artifacts.send import Outgoing
from runyard_server.artifacts.store import ObjectStore
from runyard_server.domain import paths
from runyard_server.domain.clock import Clock
from runyard_server.records import models as records
from runyard_server.records import runs as run_records
from runyard_server.records.engine import Database
from runyard_server.records.models import ModelFilter as ModelFilter
from runyard_server.services.datasets import checked_uses
from runyard_server.services.files import FileService
from runyard_server.services.objects import checked_manifest

_SHOWN = 20  # names in a message


@dataclass(frozen=True)
class ModelPage:
    """One page of a list; ``next`` continues it, None at its end."""

    models: list[ModelRecord]
    next: str | None


class ModelService:
    """What may be asked of models."""

    def __init__(self, database: Database, clock: Clock, store: ObjectStore, files: FileService) -> None:
        self._database = database
        self._clock = clock
        self._store = store
        self._files = files

    def register(
        self, spec: ModelSpec, version: int = 0, created_at: float | None = None
    ) -> ModelRecord | ManifestAnswer:
        """Registers a model as the next version of its name.

        Its files are those sent (``spec.files``), or else those of the run ``spec.run_id`` at
        ``spec.model_path`` (a file or a folder; default: the model's name). Where the store lacks
        some of those sent, nothing is registered and the answer names their digests.

        Args:
            version: the number that it has had elsewhere; where that is here, nothing happens and it is given back.
            created_at: when it was registered, where that was before now.
        Raises:
            ModelException: a name against the rules, an unknown framework, a framework's version
                without a framework, no files.
            ModelPathNotFoundException: the run has no such file or folder; says what it has.
            UnknownRunError: no such run.
        """
        check_model_name(spec.name)
        framework = _framework(spec.framework, spec.framework_version)
        tags, properties = checked_pairs(spec.tags), checked_pairs(spec.properties, "property")
        experiment = self._experiment(spec.run_id)
        root, files = _sent(spec) if spec.files else self._of_run(spec)
        missing = self._store.missing_or_short(checked_manifest(Manifest(list(files))))
        if missing:
            return ManifestAnswer(id=None, missing=missing)
        record = ModelRecord(
            id="",
            name=spec.name,
            version=version,
            created_at=self._clock.now() if created_at is None else created_at,
            root=root,
            files=list(files),
            run_id=spec.run_id,
            experiment=experiment,
            tags=tags,
            properties=properties,
            description=spec.description,
            framework=framework,
            framework_version=spec.framework_version,
            datasets=checked_uses(spec.datasets),
        )
        with self._database.write() as connection:
            return records.add(connection, record, spec.request_id)

    def get(self, name: str, version: int | None = None) -> ModelRecord:
        """One version of a model with its files, the newest where ``version`` is None.

        Raises:
            ModelNotFoundException: there is none; says which names or versions there are.
        """
        with self._database.read() as connection:
            return _existing(connection, name, version)

    def list(self, wanted: ModelFilter, after: str | None = None) -> ModelPage:
        """Models that match, newest first, without their files. ``after``: the ``next`` of the page before."""
        if after is not None:
            wanted = replace(wanted, before=_position(after))
        with self._database.read() as connection:
            found = list(records.list_matching(connection, wanted))
        full = len(found) == wanted.limit
        return ModelPage(found, _cursor(found[-1]) if found and full else None)

    def change(self, name: str, version: int, changes: ModelChanges) -> ModelRecord:
        """Sets and removes tags, adds properties, describes.

        Raises:
            ModelNotFoundException: no such version.
            ModelException: a property that is there with another value; they are written once.
        """
        with self._database.write() as connection:
            records.lock(connection, name)
            record = _existing(connection, name, version)
            kept = {key: value for key, value in record.tags.items() if key not in set(changes.remove_tags or ())}
            values = {
                "tags": {**kept, **checked_pairs(changes.tags)},
                "properties": _added(record, checked_pairs(changes.properties, "property")),
                "description": record.description if changes.description is None else changes.description,
                "datasets": [
                    *record.datasets,
                    *(use for use in checked_uses(changes.datasets or []) if use not in record.datasets),
                ],
            }
            if any(value != getattr(record, key) for key, value in values.items()):
                records.change(connection, name, version, {**values, "changed_at": self._clock.now()})
            return _existing(connection, name, version)

    def delete(self, name: str, version: int) -> None:
        """Forgets one version. Its files stay in the store while anything else has them.

        Raises:
            ModelNotFoundException: no such version.
        """
        with self._database.write() as connection:
            if not records.remove(connection, name, version):
                _existing(connection, name, version)

    def pack(self, name: str, version: int, wanted: Sequence[str] | None = None) -> Sequence[Outgoing]:
        """A model's files, or the ``wanted`` ones, as entries of a pack named by path.

        Raises:
            ModelNotFoundException: no such version.
            FileNotInRunError: a path that is not among the model's files.
        """
        entries = {entry.path: entry for entry in self.get(name, version).files}
        lacking = [path for path in wanted or () if path not in entries]
        if lacking:
            raise FileNotInRunError(
                f"The model {name}:{version} has no file {lacking[0][:200]!r}. It has: {_some(sorted(entries))}."
            )
        chosen = entries.values() if wanted is None else [entries[path] for path in dict.fromkeys(wanted)]
        return [Outgoing(entry.path, entry.size, self._store.path(entry.digest)) for entry in chosen]

    def _experiment(self, run_id: str | None) -> str | None:
        if run_id is None:
            return None
        with self._database.read() as connection:
            return run_records.get(connection, run_id).experiment

    def _of_run(self, spec: ModelSpec) -> tuple[str, Sequence[FileEntry]]:
        if spec.run_id is None:
            raise ModelException(
                "A model needs files: register it from a run (run.register_model) or a local path (Model.register)."
            )
        path = paths.relative(spec.model_path or spec.name, "model_path")
        entries = self._files.list(spec.run_id)
        root = path.rpartition("/")[2]
        files = [
            replace(entry, path=root + entry.path[len(path) :])
            for entry in entries
            if entry.path == path or entry.path.startswith(path + "/")
        ]
        if not files:
            raise ModelPathNotFoundException(self._not_in_run(spec.run_id, path, entries))
        return root, files

    def _not_in_run(self, run_id: str, path: str, entries: Sequence[FileEntry]) -> str:
        outputs = [entry.path for entry in entries if entry.path.startswith("outputs/")]
        here = sorted(outputs or [entry.path for entry in entries])
        has = "Its outputs/ holds" if outputs else "It has no outputs/; its files are"
        said = f"{has}: {_some(here)}." if here else "It has no files yet."
        with self._database.read() as connection:
            ended = run_records.get(connection, run_id).status.is_terminal
        if not ended:
            said += (
                " What a script leaves in outputs/ is collected when it ends: register the model then, or send the "
                "files at once with run.upload_file or run.upload_folder."
            )
        return f"The model_path {path!r} is neither a file nor a folder in the files of run {run_id}. {said}"


def _sent(spec: ModelSpec) -> tuple[str, Sequence[FileEntry]]:
    root = paths.relative(spec.root, "root")
    if "/" in root:
        raise ModelException(f"The root {root!r} of a model is one name: that of the registered file or folder.")
    for entry in spec.files:
        if entry.path != root and not entry.path.startswith(root + "/"):
            raise ModelException(f"The model's file {entry.path[:200]!r} is not below its root {root!r}.")
    return root, spec.files


def _framework(name: str | None, version: str | None) -> str | None:
    if name is None:
        if version is not None:
            raise ModelException(
                f"The framework version {version!r} was given without a framework. Give model_framework too: one of "
                f"{', '.join(FRAMEWORKS)}."
            )
        return None
    for known in FRAMEWORKS:
        if known.lower() == name.lower():
            return known
    raise ModelException(f"The model framework {name!r} is not known. Allowed: {', '.join(FRAMEWORKS)}.")


def _added(record: ModelRecord, properties: Mapping[str, str]) -> dict[str, str]:
    for key, value in properties.items():
        if record.properties.get(key, value) != value:
            raise ModelException(
                f"The property {key!r} of model {record.id} is {record.properties[key]!r} and cannot become {value!r}: "
                "properties are written once. Use a tag for what changes."
            )
    return {**record.properties, **properties}


def _existing(connection: Connection, name: str, version: int | None) -> ModelRecord:
    record = records.get(connection, name, version)
    if record is not None:
        return record
    versions = records.versions(connection, name, _SHOWN)
    if versions:
        there = f"It has the versions: {_some([str(number) for number in versions])}."
        raise ModelNotFoundException(f"ModelNotFound: Model {name!r} has no version {version}. {there}")
    names = records.names(connection, _SHOWN + 1)
    there = f"There are: {_some(names)}." if names else "No model is registered yet."
    raise ModelNotFoundException(f"ModelNotFound: There is no model {name!r} in this workspace. {there}")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown + (", ..." if len(names) > _SHOWN else "")


def _cursor(record: ModelRecord) -> str:
    return f"{record.created_at!r},{record.version},{record.name}"


def _position(cursor: str) -> tuple[float, str, int]:
    try:
        created_at, version, name = cursor.split(",", 2)
        return float(created_at), name, int(version)
    except ValueError:
        raise UserErrorException(
            f"The page mark {cursor[:100]!r} is not one that a list of models gave. Pass its 'next' as 'after'."
        ) from None
