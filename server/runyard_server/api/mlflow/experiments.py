"""MLflow's routes of experiments. A deleted experiment of theirs is an archived one of ours."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NotRequired

from fastapi import Query, Request
from typing_extensions import TypedDict

from runyard.names import check_key
from runyard.protocol.experiments import ExperimentChanges, ExperimentRecord
from runyard_server.api.context import services
from runyard_server.api.mlflow import words
from runyard_server.api.mlflow.failures import absent, exists, invalid
from runyard_server.api.mlflow.listing import Listing
from runyard_server.api.mlflow.paging import page, size_of, with_token
from runyard_server.domain.mlflow_filter import ATTRIBUTE, Comparison
from runyard_server.routes import Routes

router = Routes("/api/2.0")

MOST = 50_000  # experiments on one page
LONGEST_NAME = 500

_VIEWS = {"ACTIVE_ONLY": "active", "DELETED_ONLY": "archived", "ALL": "all"}


@dataclass(frozen=True)
class Tag:
    key: str
    value: str | None = None


@dataclass(frozen=True)
class NewExperiment:
    name: str
    artifact_location: str | None = None
    tags: list[Tag] = field(default_factory=list)


@dataclass(frozen=True)
class ExperimentSearch:
    max_results: int | None = None
    page_token: str | None = None
    filter: str | None = None
    order_by: list[str] | None = None
    view_type: str | None = None


@dataclass(frozen=True)
class ExperimentId:
    experiment_id: str


@dataclass(frozen=True)
class ExperimentRename:
    experiment_id: str
    new_name: str


@dataclass(frozen=True)
class ExperimentTag:
    experiment_id: str
    key: str
    value: str | None = None


@dataclass(frozen=True)
class ExperimentTagKey:
    experiment_id: str
    key: str


class CreatedExperiment(TypedDict):
    experiment_id: str


class OneExperiment(TypedDict):
    experiment: words.Experiment


class ExperimentPage(TypedDict):
    experiments: list[words.Experiment]
    next_page_token: NotRequired[str]


def find(request: Request, experiment_id: str) -> ExperimentRecord:
    """The experiment of MLflow's id. Raises MlflowRefusal where there is none."""
    held = services(request).experiments
    if experiment_id == words.DEFAULT_EXPERIMENT_ID:
        found = held.find(words.DEFAULT_EXPERIMENT)
    else:
        found = held.find_by_id(experiment_id)
    if found is None:
        raise absent(f"No Experiment with id={experiment_id} exists")
    return found


def find_all(request: Request, experiment_ids: Sequence[str]) -> list[ExperimentRecord]:
    """The experiments of MLflow's ids, each once, in this order; read at once.

    MLflow's default experiment, which clients take to be there always, is left out where it is not. Raises MlflowRefusal
    where another one is not here.
    """
    ids = list(dict.fromkeys(experiment_ids))
    default = words.DEFAULT_EXPERIMENT_ID
    names = [words.DEFAULT_EXPERIMENT] if default in ids else []
    found = services(request).experiments.get_many([one for one in ids if one != default], names)
    known = {key: record for record in found for key in (record.id, words.experiment_id(record))}
    for experiment_id in ids:
        if experiment_id not in known and experiment_id != default:
            raise absent(f"No Experiment with id={experiment_id} exists")
    return list({known[one].id: known[one] for one in ids if one in known}.values())


def find_or_default(request: Request, experiment_id: str | None) -> ExperimentRecord:
    """The same; but MLflow's default experiment, which clients take to be there always, is made where it is not."""
    if experiment_id in (None, "", words.DEFAULT_EXPERIMENT_ID):
        return services(request).experiments.get_or_create(words.DEFAULT_EXPERIMENT)
    return find(request, str(experiment_id))


def check_location(location: str | None) -> None:
    """Raises MlflowRefusal: where files lie is the server's choice."""
    if location:
        raise invalid(
            f"Invalid value {location[:200]!r} for parameter 'artifact_location' supplied: this server keeps artifacts "
            "itself, and no location of a client is ever opened. Leave it out."
        )


@router.post("/mlflow/experiments/create")
def create(said: NewExperiment, request: Request) -> Any:
    """A new experiment."""
    check_location(said.artifact_location)
    name = _checked_name(said.name)
    tags = words.as_dict(said.tags)
    for key in tags:
        check_key(key)
    kept = {**tags, words.SHOWN_NAME: name} if words.our_name(name) != name else tags
    record = services(request).experiments.create(words.our_name(name), kept)
    if record is None:
        raise exists(f"Experiment(name={name}) already exists.")
    return {"experiment_id": words.experiment_id(record)}


@router.get("/mlflow/experiments/get")
def get(experiment_id: str, request: Request) -> Any:
    """One experiment, by id."""
    return {"experiment": words.experiment(find(request, experiment_id))}


@router.get("/mlflow/experiments/get-by-name")
def get_by_name(experiment_name: str, request: Request) -> Any:
    """One experiment, by name."""
    found = services(request).experiments.find(words.our_name(experiment_name))
    if found is None or words.shown_name(found) != experiment_name:
        raise absent(f"Could not find experiment with name '{experiment_name}'")
    return {"experiment": words.experiment(found)}


@router.post("/mlflow/experiments/search")
def search(said: ExperimentSearch, request: Request) -> Any:
    """Experiments that match, a page of them."""
    return _search(request, said)


@router.get("/mlflow/experiments/search")
def search_by_query(
    request: Request,
    max_results: int | None = None,
    page_token: str | None = None,
    filter: str | None = None,
    order_by: Annotated[list[str] | None, Query()] = None,
    view_type: str | None = None,
) -> Any:
    """The same, asked in the address."""
    return _search(request, ExperimentSearch(max_results, page_token, filter, order_by, view_type))


@router.post("/mlflow/experiments/update")
def rename(said: ExperimentRename, request: Request) -> Any:
    """Gives an experiment another name."""
    record, name = find(request, said.experiment_id), _checked_name(said.new_name)
    held, ours = services(request).experiments, words.our_name(name)
    there = held.find(ours)
    if there is not None and there.id != record.id:
        raise exists(f"Experiment(name={name}) already exists.")
    tags = {words.SHOWN_NAME: name} if ours != name else None
    held.change(record.id, ExperimentChanges(name=ours, tags=tags, remove_tags=[words.SHOWN_NAME]))
    return {}


@router.post("/mlflow/experiments/delete")
def delete(said: ExperimentId, request: Request) -> Any:
    """Archives an experiment."""
    _archive(request, said.experiment_id, True)
    return {}


@router.post("/mlflow/experiments/restore")
def restore(said: ExperimentId, request: Request) -> Any:
    """Brings an archived experiment back."""
    _archive(request, said.experiment_id, False)
    return {}


@router.post("/mlflow/experiments/set-experiment-tag")
def set_tag(said: ExperimentTag, request: Request) -> Any:
    """Sets one tag of an experiment."""
    record = find(request, said.experiment_id)
    changes = ExperimentChanges(tags={check_key(said.key): said.value or ""})
    services(request).experiments.change(record.id, changes)
    return {}


@router.post("/mlflow/experiments/delete-experiment-tag")
def delete_tag(said: ExperimentTagKey, request: Request) -> Any:
    """Removes one tag of an experiment."""
    record = find(request, said.experiment_id)
    if said.key not in record.tags:
        raise absent(f"No tag with name: {said.key} in experiment with id {said.experiment_id}")
    services(request).experiments.change(record.id, ExperimentChanges(remove_tags=[said.key]))
    return {}


def _archive(request: Request, experiment_id: str, archived: bool) -> None:
    record = find(request, experiment_id)
    services(request).experiments.change(record.id, ExperimentChanges(archived=archived))


def _checked_name(name: str) -> str:
    if not name.strip() or len(name) > LONGEST_NAME:
        raise invalid(
            f"Invalid experiment name: {name[:100]!r}. An experiment's name has 1 to {LONGEST_NAME} characters."
        )
    return name


def _search(request: Request, said: ExperimentSearch) -> Any:
    view = _VIEWS.get(said.view_type or "ACTIVE_ONLY")
    if view is None:
        raise invalid(f"Invalid value {said.view_type!r} for parameter 'view_type' supplied: {', '.join(_VIEWS)}.")
    size = size_of(said.max_results, 1000, MOST)
    asked = _LISTING.asked(said.filter, said.order_by)
    records, token = page(asked.of(services(request).experiments.list(view)), size, said.page_token)
    return with_token({"experiments": [words.experiment(record) for record in records]}, token)


def _refused(comparison: Comparison) -> str:
    if comparison.kind != ATTRIBUTE:
        return f"Experiments are searched by attributes and tags, not by {comparison.kind}s."
    return f"Invalid attribute key {comparison.key[:100]!r}. Valid keys: {', '.join(_LISTING.attributes)}."


_LISTING: Listing[ExperimentRecord] = Listing(
    attributes={
        "name": words.shown_name,
        "experiment_id": words.experiment_id,
        "creation_time": lambda record: words.milliseconds(record.created_at),
        "last_update_time": words.updated_ms,
    },
    tags=lambda record: record.tags,
    refused=_refused,
    wrong_order="Invalid order_by key {key!r}. Valid keys: {keys}.",
    usual=[(lambda record: words.milliseconds(record.created_at), False), (lambda record: record.id, True)],
    then=[(lambda record: record.id, True)],
)
