"""MLflow's routes of model versions.

A version's files are those of a run, of a logged model or of another version, looked up in the records by ids. No
source is a place: one that names none of these is refused, however it is spelt and whatever stands beside it.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, NotRequired

from fastapi import Query, Request
from typing_extensions import TypedDict

from runyard.errors import ModelNotFoundException, ModelPathNotFoundException, PermissionDeniedError
from runyard.protocol.files import FileEntry
from runyard.protocol.models import ModelChanges, ModelRecord, ModelSpec
from runyard.protocol.runs import RunChanges
from runyard_server.api.context import services
from runyard_server.api.mlflow import logged_models, model_names, model_words, words
from runyard_server.api.mlflow.artifacts import checked, place_of
from runyard_server.api.mlflow.experiments import Tag
from runyard_server.api.mlflow.failures import MlflowRefusal, absent, invalid
from runyard_server.api.mlflow.listing import Listing, Order
from runyard_server.api.mlflow.paging import page, size_of, with_token
from runyard_server.api.mlflow.runs import checked_tags
from runyard_server.api.mlflow.runs import find as find_run
from runyard_server.routes import Routes
from runyard_server.services.model_names import ModelName
from runyard_server.services.models import ModelFilter

router = Routes("/api/2.0")

MOST_SEARCHED = 10_000  # versions that one search looks at
VERSIONS_OF_MODEL = "mlflow.modelVersions"


@dataclass(frozen=True)
class NewVersion:
    name: str
    source: str
    run_id: str | None = None
    tags: list[Tag] = field(default_factory=list)
    run_link: str | None = None
    description: str | None = None
    model_id: str | None = None


@dataclass(frozen=True)
class Version:
    name: str
    version: str


@dataclass(frozen=True)
class VersionDescription(Version):
    description: str | None = None


@dataclass(frozen=True)
class Transition(Version):
    stage: str = ""
    archive_existing_versions: bool = False


@dataclass(frozen=True)
class VersionTag(Version):
    key: str = ""
    value: str | None = None


class OneVersion(TypedDict):
    model_version: model_words.ModelVersion


class VersionPage(TypedDict):
    model_versions: list[model_words.ModelVersion]
    next_page_token: NotRequired[str]


class Uri(TypedDict):
    artifact_uri: str


@router.post("/mlflow/model-versions/create")
def create(said: NewVersion, request: Request) -> Any:
    """The next version of a name. With a run's token its files are that run's, or of what is below it."""
    held, name = services(request), model_names.find(request, said.name)
    model = logged_models.find(request, said.model_id) if said.model_id else None
    spec = ModelSpec(
        name=name.name,
        tags=checked_tags(words.as_dict(said.tags)),
        properties=model_words.properties(said.source, said.run_id, said.run_link, said.model_id),
        description=said.description or None,
    )
    try:
        record = held.models.register(with_files(request, said, spec))
    except ModelPathNotFoundException as fault:
        raise invalid(f"Invalid model version source: '{said.source[:200]}'. {fault}") from None
    assert isinstance(record, ModelRecord)
    if model is not None:
        known = words.list_in(model.tags.get(VERSIONS_OF_MODEL))
        noted = [*known, {"name": model_words.shown_name(name), "version": record.version}]
        held.runs.change(model.id, RunChanges(tags={VERSIONS_OF_MODEL: json.dumps(noted)}))
    return {"model_version": model_words.version(record, name)}


def with_files(request: Request, said: NewVersion, spec: ModelSpec) -> ModelSpec:
    """The spec with where its files are: in the files of a run, or listed. Raises MlflowRefusal, PermissionDeniedError."""
    scheme, _, rest = said.source.partition(":/")
    rest = rest.removeprefix("/") if scheme != "mlflow-artifacts" else rest
    try:
        if scheme == "runs":
            run_id, _, path = checked(rest).partition("/")
            from_run = find_run(request, run_id)
            return ModelSpec(**{**vars(spec), "run_id": from_run.id, "model_path": path or None})
        if scheme == "models":
            return _of_model(request, checked(rest), spec)
        if scheme == "mlflow-artifacts":
            place = place_of(request, rest)
            if place.model is not None:
                return _copied(request, place.model, spec)
            assert place.run is not None
            if place.path:
                return ModelSpec(**{**vars(spec), "run_id": place.run.id, "model_path": place.path})
            return _all_of(request, place.run.id, spec)
    except PermissionDeniedError:
        raise
    except (MlflowRefusal, ModelNotFoundException) as fault:
        raise invalid(f"Invalid model version source: '{said.source[:200]}'. {fault}") from None
    raise invalid(
        f"Invalid model version source: '{said.source[:200]}'. A version is made of what a run or a logged model has "
        "here: 'runs:/<run>/<path>', 'models:/<id>', or an artifact_uri and a path below it."
    )


def _of_model(request: Request, rest: str, spec: ModelSpec) -> ModelSpec:
    """Of ``models:/<id of a logged model>``, ``models:/<name>/<version>`` or ``models:/<name>@<alias>``."""
    name, _, version = rest.partition("/")
    if version:
        found = model_names.find(request, name)
        return _copied(request, (found.name, model_words.version_number(version)), spec)
    shown, at, alias = name.rpartition("@")
    if at:
        found = model_names.find(request, shown)
        if alias not in found.aliases:
            raise absent(f"Registered model alias {alias[:100]} not found.")
        return _copied(request, (found.name, found.aliases[alias]), spec)
    return _all_of(request, logged_models.find(request, name).id, spec)


def _all_of(request: Request, run_id: str, spec: ModelSpec) -> ModelSpec:
    """All files of a run, in a folder of their own."""
    files = services(request).files.list(run_id)
    if not files:
        raise invalid("It has no files yet.")
    root = "model"
    listed = [FileEntry(f"{root}/{entry.path}", entry.size, entry.digest) for entry in files]
    parent = services(request).runs.get(run_id)
    owner = parent.parent_id if parent.type == words.LOGGED_MODEL and parent.parent_id else run_id
    return ModelSpec(**{**vars(spec), "run_id": owner, "files": listed, "root": root})


def _copied(request: Request, model: tuple[str, int], spec: ModelSpec) -> ModelSpec:
    record = services(request).models.get(*model)
    return ModelSpec(**{**vars(spec), "run_id": record.run_id, "files": record.files, "root": record.root})


def find(request: Request, name: str, version: str) -> tuple[ModelName, ModelRecord]:
    """A version and its name. Raises MlflowRefusal where there is none."""
    found, number = model_names.find(request, name), model_words.version_number(version)
    try:
        return found, services(request).models.get(found.name, number)
    except ModelNotFoundException:
        raise absent(f"Model Version (name={name}, version={version}) not found") from None


@router.get("/mlflow/model-versions/get")
def get(name: str, version: str, request: Request) -> Any:
    """One version."""
    return _told(*find(request, name, version))


@router.patch("/mlflow/model-versions/update")
def update(said: VersionDescription, request: Request) -> Any:
    """Describes a version."""
    return _changed(request, said, ModelChanges(description=said.description or ""))


@router.delete("/mlflow/model-versions/delete")
def delete(said: Version, request: Request) -> Any:
    """Forgets a version, and the aliases that stand for it."""
    name, record = find(request, said.name, said.version)
    held = services(request)
    for alias, number in name.aliases.items():
        if number == record.version:
            held.model_names.set_alias(name.name, alias, None)
    held.models.delete(record.name, record.version)
    with suppress(ModelNotFoundException):  # a name of which nothing else was said goes with its last version
        held.model_names.note_change(name.name)
    return {}


@router.post("/mlflow/model-versions/transition-stage")
def transition(said: Transition, request: Request) -> Any:
    """Puts a version on a stage; if asked for, those that were there are archived."""
    name, record = find(request, said.name, said.version)
    stage, held = model_words.checked_stage(said.stage), services(request).models
    if said.archive_existing_versions:
        if stage not in ("Staging", "Production"):
            raise invalid(
                "Model version transition cannot archive existing model versions because the stage is neither."
            )
        listed = held.list(ModelFilter(name=record.name, limit=MOST_SEARCHED)).models
        for other in [one for one in listed if model_words.stage(one) == stage and one.version != record.version]:
            held.change(other.name, other.version, ModelChanges(tags={model_words.STAGE: "Archived"}))
    changed = held.change(record.name, record.version, ModelChanges(tags={model_words.STAGE: stage}))
    services(request).model_names.note_change(record.name)
    return _told(name, changed)


@router.get("/mlflow/model-versions/get-download-uri")
def download_uri(name: str, version: str, request: Request) -> Any:
    """Where the files of a version are fetched."""
    return {"artifact_uri": model_words.download_uri(find(request, name, version)[1])}


@router.post("/mlflow/model-versions/set-tag")
def set_tag(said: VersionTag, request: Request) -> Any:
    """Sets one tag of a version."""
    _changed(request, said, ModelChanges(tags=checked_tags({said.key: said.value or ""})))
    return {}


@router.delete("/mlflow/model-versions/delete-tag")
def delete_tag(said: VersionTag, request: Request) -> Any:
    """Removes one tag of a version."""
    _changed(request, said, ModelChanges(remove_tags=[said.key]))
    return {}


@router.get("/mlflow/model-versions/search")
def search(
    request: Request,
    filter: str | None = None,
    max_results: int | None = None,
    order_by: Annotated[list[str] | None, Query()] = None,
    page_token: str | None = None,
) -> Any:
    """Versions that match, a page of them."""
    size = size_of(max_results, 10_000, 200_000)
    asked = _LISTING.asked(filter, order_by)
    exact, held = asked.exact("name"), services(request)
    name = None if exact is None else model_words.our_name(exact)
    narrowed = [ModelFilter(name=name, limit=MOST_SEARCHED)]
    run_id = asked.exact("run_id")
    if run_id is not None:  # the run that has the files, or the one that was named beside them
        by_run = ({"run_id": run_id}, {"properties": {model_words.RUN_ID: run_id}})
        narrowed = [replace(narrowed[0], **one) for one in by_run]
    found_here = {record.id: record for wanted in narrowed for record in held.models.list(wanted).models}
    records = list(found_here.values())
    names = {name: held.model_names.get(name) for name in {record.name for record in records}}
    seen = [_Seen(record.tags, model_words.version(record, names[record.name])) for record in records]
    found, token = page(asked.of(seen), size, page_token)
    versions = [one.version for one in found]
    return with_token({"model_versions": versions}, token)


@dataclass(frozen=True)
class _Seen:
    """A version in a search. Its tags are asked for as they are kept, with those that are not shown."""

    tags: Mapping[str, str]
    version: model_words.ModelVersion


_THEN: Sequence[Order[_Seen]] = (
    (lambda one: one.version["name"], True),
    (lambda one: int(one.version["version"]), False),
)
_LISTING: Listing[_Seen] = Listing(
    attributes={
        "name": lambda one: one.version["name"],
        "run_id": lambda one: one.version["run_id"] or None,
        "source_path": lambda one: one.version["source"],
        "version_number": lambda one: int(one.version["version"]),
        "version": lambda one: int(one.version["version"]),
        "creation_timestamp": lambda one: one.version["creation_timestamp"],
        "last_updated_timestamp": lambda one: one.version["last_updated_timestamp"],
    },
    tags=lambda one: one.tags,
    refused=lambda one: f"Invalid attribute name: {one.key[:100]}. Valid names are {', '.join(_LISTING.attributes)}.",
    wrong_order="Invalid order by key '{key}' specified. Valid keys are {keys}.",
    usual=[(lambda one: one.version["last_updated_timestamp"], False), *_THEN],
    then=_THEN,
    holds_of_tags=model_words.holds_of_tags,
)


def _changed(request: Request, said: Version, changes: ModelChanges) -> Any:
    name, record = find(request, said.name, said.version)
    return _told(name, services(request).models.change(record.name, record.version, changes))


def _told(name: ModelName, record: ModelRecord) -> Any:
    return {"model_version": model_words.version(record, name)}
