"""MLflow's routes of registered models: names of models, with tags, a description and aliases of their own."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Query, Request
from typing_extensions import TypedDict

from runyard.errors import ModelException, ModelNotFoundException
from runyard.protocol.models import ModelRecord
from runyard_server.api.context import services
from runyard_server.api.mlflow import model_words, words
from runyard_server.api.mlflow.experiments import Tag
from runyard_server.api.mlflow.failures import absent, exists, invalid
from runyard_server.api.mlflow.listing import Listing
from runyard_server.api.mlflow.paging import page, size_of, with_token
from runyard_server.api.mlflow.runs import checked_tags
from runyard_server.routes import Routes
from runyard_server.services.model_names import ModelName
from runyard_server.services.models import ModelFilter

router = Routes("/api/2.0")

LONGEST_NAME = 255
_LATEST = 1000  # versions that are looked at for the newest of each stage
_WORDS = ("latest",)  # that stand for something else where an alias is written


@dataclass(frozen=True)
class NewName:
    name: str
    description: str | None = None
    tags: list[Tag] = field(default_factory=list)


@dataclass(frozen=True)
class Rename:
    name: str
    new_name: str


@dataclass(frozen=True)
class Description:
    name: str
    description: str | None = None


@dataclass(frozen=True)
class Name:
    name: str


@dataclass(frozen=True)
class NameTag:
    name: str
    key: str
    value: str | None = None


@dataclass(frozen=True)
class NameTagKey:
    name: str
    key: str


@dataclass(frozen=True)
class Alias:
    name: str
    alias: str
    version: str


@dataclass(frozen=True)
class AliasName:
    name: str
    alias: str


@dataclass(frozen=True)
class Stages:
    name: str
    stages: list[str] | None = None


class OneName(TypedDict):
    registered_model: model_words.RegisteredModel


class NamePage(TypedDict, total=False):
    registered_models: list[model_words.RegisteredModel]
    next_page_token: str


class Versions(TypedDict):
    model_versions: list[model_words.ModelVersion]


def find(request: Request, shown: str) -> ModelName:
    """The name that MLflow's clients call ``shown``. Raises MlflowRefusal where there is none."""
    try:
        found = services(request).model_names.get(model_words.our_name(shown))
    except ModelNotFoundException:
        raise absent(f"Registered Model with name={shown} not found") from None
    return found


def checked_name(name: str) -> str:
    """A name that MLflow takes. Raises MlflowRefusal otherwise."""
    if not name or len(name) > LONGEST_NAME or set(name) & set("/:"):
        raise invalid(
            f"Invalid model name: '{name[:100]}'. Model name must be a non-empty UTF-8 string of at most {LONGEST_NAME} "
            "characters and cannot contain forward slashes or colons."
        )
    return name


@router.post("/mlflow/registered-models/create")
def create(said: NewName, request: Request) -> Any:
    """A new name, without versions."""
    name = checked_name(said.name)
    ours, tags = model_words.our_name(name), checked_tags(words.as_dict(said.tags))
    kept = tags if ours == name else {**tags, model_words.SHOWN_NAME: name}
    found = services(request).model_names.create(ours, said.description or None, kept)
    if found is None:
        raise exists(f"Registered Model (name={name}) already exists.")
    return _told(request, found)


@router.get("/mlflow/registered-models/get")
def get(name: str, request: Request) -> Any:
    """One name."""
    return _told(request, find(request, name))


@router.post("/mlflow/registered-models/rename")
def rename(said: Rename, request: Request) -> Any:
    """Gives a name with all of its versions another one."""
    found, name = find(request, said.name), checked_name(said.new_name)
    held, ours = services(request).model_names, model_words.our_name(name)
    try:
        held.rename(found.name, ours)
    except ModelException:
        raise exists(f"Registered Model (name={name}) already exists.") from None
    shown = {model_words.SHOWN_NAME: name} if ours != name else None
    return _told(request, held.change(ours, tags=shown, remove_tag=model_words.SHOWN_NAME))


@router.patch("/mlflow/registered-models/update")
def update(said: Description, request: Request) -> Any:
    """Describes a name."""
    found = find(request, said.name)
    return _told(request, services(request).model_names.change(found.name, description=said.description or ""))


@router.delete("/mlflow/registered-models/delete")
def delete(said: Name, request: Request) -> Any:
    """Forgets a name with all of its versions. Their files stay where anything else has them."""
    services(request).model_names.delete(find(request, said.name).name)
    return {}


@router.get("/mlflow/registered-models/search")
def search(
    request: Request,
    filter: str | None = None,
    max_results: int | None = None,
    order_by: Annotated[list[str] | None, Query()] = None,
    page_token: str | None = None,
) -> Any:
    """Names that match, a page of them."""
    size = size_of(max_results, 100, 1000)
    asked = _LISTING.asked(filter, order_by)
    names, token = page(asked.of(services(request).model_names.list()), size, page_token)
    return with_token({"registered_models": [_whole(request, one) for one in names]}, token)


@router.post("/mlflow/registered-models/get-latest-versions")
def latest(said: Stages, request: Request) -> Any:
    """The newest version of each stage."""
    return {"model_versions": _latest(request, find(request, said.name), said.stages)}


@router.get("/mlflow/registered-models/get-latest-versions")
def latest_by_query(request: Request, name: str, stages: Annotated[list[str] | None, Query()] = None) -> Any:
    """The same, asked in the address."""
    return {"model_versions": _latest(request, find(request, name), stages)}


@router.post("/mlflow/registered-models/set-tag")
def set_tag(said: NameTag, request: Request) -> Any:
    """Sets one tag of a name."""
    found = find(request, said.name)
    services(request).model_names.change(found.name, tags=checked_tags({said.key: said.value or ""}))
    return {}


@router.delete("/mlflow/registered-models/delete-tag")
def delete_tag(said: NameTagKey, request: Request) -> Any:
    """Removes one tag of a name."""
    found = find(request, said.name)
    if said.key != model_words.SHOWN_NAME:
        services(request).model_names.change(found.name, remove_tag=said.key)
    return {}


@router.post("/mlflow/registered-models/alias")
def set_alias(said: Alias, request: Request) -> Any:
    """Lets an alias stand for a version."""
    found = find(request, said.name)
    if said.alias.lower() in _WORDS or said.alias[:1].lower() == "v" and said.alias[1:].isdigit() or not said.alias:
        raise invalid(f"Invalid alias name: '{said.alias[:100]}'. 'latest' and names such as 'v1' stand for versions.")
    version = model_words.version_number(said.version)
    try:
        services(request).model_names.set_alias(found.name, said.alias, version)
    except ModelNotFoundException:
        raise absent(f"Model Version (name={said.name}, version={said.version}) not found") from None
    return {}


@router.delete("/mlflow/registered-models/alias")
def delete_alias(said: AliasName, request: Request) -> Any:
    """Forgets an alias."""
    found = find(request, said.name)
    if said.alias in found.aliases:
        services(request).model_names.set_alias(found.name, said.alias, None)
    return {}


@router.get("/mlflow/registered-models/alias")
def by_alias(name: str, alias: str, request: Request) -> Any:
    """The version that an alias stands for."""
    found = find(request, name)
    if alias not in found.aliases:
        raise invalid(f"Registered model alias {alias[:100]} not found.")
    try:
        record = services(request).models.get(found.name, found.aliases[alias])
    except ModelNotFoundException:
        raise absent(f"Model Version (name={name}, version={found.aliases[alias]}) not found") from None
    return {"model_version": model_words.version(record, found)}


def _told(request: Request, found: ModelName) -> Any:
    return {"registered_model": _whole(request, found)}


def _whole(request: Request, found: ModelName) -> model_words.RegisteredModel:
    return model_words.registered(found, _latest(request, found, None))


def _latest(request: Request, found: ModelName, stages: Sequence[str] | None) -> list[model_words.ModelVersion]:
    wanted = {model_words.checked_stage(stage) for stage in stages or ()}
    newest: dict[str, ModelRecord] = {}
    for record in services(request).models.list(ModelFilter(name=found.name, limit=_LATEST)).models:
        stage = model_words.stage(record)
        if stage not in newest or record.version > newest[stage].version:
            newest[stage] = record
    return [model_words.version(newest[stage], found) for stage in sorted(newest) if not wanted or stage in wanted]


_LISTING: Listing[ModelName] = Listing(
    attributes={
        "name": model_words.shown_name,
        "timestamp": lambda one: words.milliseconds(one.changed_at),
        "last_updated_timestamp": lambda one: words.milliseconds(one.changed_at),
        "creation_timestamp": lambda one: words.milliseconds(one.created_at),
    },
    tags=lambda one: one.tags,
    refused=lambda one: f"Invalid attribute name: {one.key[:100]}. Models are searched by name and tags.",
    wrong_order="Invalid order by key '{key}' specified. Valid keys are {keys}.",
    usual=[(model_words.shown_name, True)],
    then=[(model_words.shown_name, True)],
    holds_of_tags=model_words.holds_of_tags,
)
