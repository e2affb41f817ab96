"""MLflow's routes of logged models: what a run makes and may be registered later, with files and numbers of its own.

To us a logged model is a run too, below the one that made it: it has files, tags, parameters and metrics, it is being
made until it is whole or has failed. Its type tells it apart; MLflow's searches of runs leave it out.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NotRequired

from fastapi import APIRouter, Request
from typing_extensions import TypedDict

from runyard.protocol.runs import InteractiveRunSpec, RunChanges, RunRecord
from runyard.protocol.status import RunStatus
from runyard_server.api.context import caller, services
from runyard_server.api.mlflow import words
from runyard_server.api.mlflow.artifacts import File, below, checked
from runyard_server.api.mlflow.experiments import Tag, find_or_default
from runyard_server.api.mlflow.experiments import find as find_experiment
from runyard_server.api.mlflow.failures import MlflowRefusal, absent, invalid
from runyard_server.api.mlflow.metrics import Parameter, change_parameters
from runyard_server.api.mlflow.paging import page, size_of, with_token
from runyard_server.api.mlflow.runs import checked_tags, experiment_of
from runyard_server.api.mlflow.runs import find as find_run
from runyard_server.domain.metric_chunks import Points
from runyard_server.domain.mlflow_filter import (
    ATTRIBUTE,
    METRIC,
    PARAMETER,
    TAG,
    Comparison,
    FilterError,
    holds,
    ordered,
    parse,
    parse_order,
)
from runyard_server.services.runs import RunFilter

router = APIRouter(prefix="/api/2.0")

MODEL_TYPE = "mlflow.modelType"
SOURCE_RUN = "mlflow.sourceRunId"
MOST_SEARCHED = 10_000  # logged models that one search looks at

_STATUS = {RunStatus.COMPLETED: "LOGGED_MODEL_READY", RunStatus.FAILED: "LOGGED_MODEL_UPLOAD_FAILED"}
_PENDING = "LOGGED_MODEL_PENDING"
ENDS = {word: status for status, word in _STATUS.items()}


@dataclass(frozen=True)
class NewLoggedModel:
    experiment_id: str
    name: str | None = None
    model_type: str | None = None
    source_run_id: str | None = None
    params: list[Parameter] = field(default_factory=list)
    tags: list[Tag] = field(default_factory=list)


@dataclass(frozen=True)
class Finalized:
    status: str


@dataclass(frozen=True)
class NewTags:
    tags: list[Tag] = field(default_factory=list)


@dataclass(frozen=True)
class NewParameters:
    params: list[Parameter] = field(default_factory=list)


@dataclass(frozen=True)
class Order:
    field_name: str
    ascending: bool | None = None


@dataclass(frozen=True)
class LoggedModelSearch:
    experiment_ids: list[str] = field(default_factory=list)
    filter: str | None = None
    max_results: int | None = None
    order_by: list[Order] | None = None
    page_token: str | None = None


class Info(TypedDict, total=False):
    model_id: str
    experiment_id: str
    name: str
    creation_timestamp_ms: int
    last_updated_timestamp_ms: int
    artifact_uri: str
    status: str
    model_type: str
    source_run_id: str
    tags: list[words.Pair]


class Data(TypedDict):
    params: list[words.Pair]
    metrics: list[words.Metric]


class LoggedModel(TypedDict):
    info: Info
    data: Data


class OneLoggedModel(TypedDict):
    model: LoggedModel


class LoggedModelPage(TypedDict):
    models: list[LoggedModel]
    next_page_token: NotRequired[str]


class Directory(TypedDict):
    root_uri: str
    files: list[File]


def find(request: Request, model_id: str) -> RunRecord:
    """The logged model of that id. Raises MlflowRefusal, PermissionDeniedError."""
    try:
        record = find_run(request, model_id)
    except MlflowRefusal:
        raise _absent(model_id) from None
    if record.type != words.LOGGED_MODEL or words.is_deleted(record):
        raise _absent(model_id)
    return record


def _absent(model_id: str) -> MlflowRefusal:
    return absent(f"Logged model with ID '{model_id}' not found.")


@router.post("/mlflow/logged-models")
def create(said: NewLoggedModel, request: Request) -> Any:
    """A new logged model, whose files are still to come."""
    held, own = services(request), request.state.identity.run_id
    experiment = find_or_default(request, said.experiment_id)
    source = said.source_run_id or own
    try:
        parent = find_run(request, source) if source else None
    except MlflowRefusal:
        parent = None  # MLflow keeps the id whatever it names
    told = {MODEL_TYPE: said.model_type, SOURCE_RUN: source}
    properties = {key: value for key, value in told.items() if value}
    model_id = f"m-{uuid.uuid4().hex}"
    spec = InteractiveRunSpec(
        experiment=experiment.name,
        id=model_id,
        parent=parent.id if parent is not None else None,
        display_name=said.name or model_id,
        tags=checked_tags(words.as_dict(said.tags)),
        properties=properties,
    )
    record = held.runs.start_interactive(spec, caller(request), type=words.LOGGED_MODEL, beats=False)
    if said.params:
        record = change_parameters(request, record, said.params)
    return {"model": _model(request, record, {})}


@router.get("/mlflow/logged-models/{model_id}")
def get(model_id: str, request: Request) -> Any:
    """One logged model."""
    return {"model": _whole(request, find(request, model_id))}


@router.patch("/mlflow/logged-models/{model_id}")
def finalize(model_id: str, said: Finalized, request: Request) -> Any:
    """Says that a model is whole, or has failed."""
    record = find(request, model_id)
    status = ENDS.get(said.status)
    if status is None:
        raise invalid(f"Invalid value {said.status!r} for parameter 'status' supplied: {', '.join(ENDS)}.")
    record = services(request).runs.end_interactive(record.id, status, caller(request))
    return {"model": _whole(request, record)}


@router.delete("/mlflow/logged-models/{model_id}")
def delete(model_id: str, request: Request) -> Any:
    """Hides a logged model. Nothing of it is removed."""
    record = find(request, model_id)
    services(request).runs.change(record.id, RunChanges(archived=True))
    return {}


@router.patch("/mlflow/logged-models/{model_id}/tags")
def set_tags(model_id: str, said: NewTags, request: Request) -> Any:
    """Sets tags of a logged model."""
    record = find(request, model_id)
    changes = RunChanges(tags=checked_tags(words.as_dict(said.tags)) or None)
    return {"model": _whole(request, services(request).runs.change(record.id, changes))}


@router.delete("/mlflow/logged-models/{model_id}/tags/{tag_key}")
def delete_tag(model_id: str, tag_key: str, request: Request) -> Any:
    """Removes one tag of a logged model."""
    record = find(request, model_id)
    if tag_key not in record.tags:
        raise absent(f"No tag with key {tag_key!r} found for model with ID {model_id!r}.")
    services(request).runs.change(record.id, RunChanges(remove_tags=[tag_key]))
    return {}


@router.post("/mlflow/logged-models/{model_id}/params")
def log_parameters(model_id: str, said: NewParameters, request: Request) -> Any:
    """Logs parameters of a logged model; each is written once."""
    change_parameters(request, find(request, model_id), said.params)
    return {}


@router.get("/mlflow/logged-models/{model_id}/artifacts/directories")
def list_files(model_id: str, request: Request, artifact_directory_path: str | None = None) -> Any:
    """What lies in a folder of a logged model's files."""
    folder = checked(artifact_directory_path) if artifact_directory_path else ""
    record = find(request, model_id)
    root = words.artifact_uri(record, words.experiment_id(experiment_of(request, record)))
    return {"root_uri": root, "files": below(services(request).files.list(record.id), folder)}


@router.post("/mlflow/logged-models/search")
def search(said: LoggedModelSearch, request: Request) -> Any:
    """Logged models that match, a page of them."""
    size = size_of(said.max_results, 50, 1000)
    try:
        wanted = [_checked(comparison) for comparison in parse(said.filter)]
        orders = [_order(one) for one in said.order_by or []]
    except FilterError as fault:
        raise invalid(str(fault)) from None
    held = services(request)
    found: list[RunRecord] = []
    for experiment_id in dict.fromkeys(said.experiment_ids):
        name = find_experiment(request, experiment_id).name
        listed = RunFilter(experiment=name, type=words.LOGGED_MODEL, include_children=True, limit=MOST_SEARCHED)
        found += [record for record in held.runs.list(listed) if not words.is_deleted(record)]
    own = request.state.identity.run_id
    if own is not None:
        found = [record for record in found if held.runs.is_below(record, own)]
    last = held.metrics.last_points([record.id for record in found])
    seen = [_Seen(record, last.get(record.id, {})) for record in found]
    matching = [one for one in seen if one.matches(wanted)]
    newest_first: list[tuple[Callable[[_Seen], Any], bool]] = [
        (lambda one: one.record.created_at, False),
        (lambda one: one.record.id, True),
    ]
    models, token = page(ordered(matching, [*orders, *newest_first]), size, said.page_token)
    return with_token({"models": [_model(request, one.record, one.last) for one in models]}, token)


@dataclass(frozen=True)
class _Seen:
    """A logged model in a search, with the last point of each of its metrics."""

    record: RunRecord
    last: Mapping[str, Points]

    def values(self, kind: str) -> Mapping[str, Any]:
        if kind == METRIC:
            return {name: points.values[-1] for name, points in self.last.items()}
        if kind == PARAMETER:
            return words.parameters(self.record)
        if kind == TAG:
            return self.record.tags
        return {name: value(self.record) for name, value in _ATTRIBUTES.items()}

    def matches(self, wanted: list[Comparison]) -> bool:
        return all(holds(one, self.values(one.kind)) for one in wanted)


_ATTRIBUTES: dict[str, Callable[[RunRecord], Any]] = {
    "name": lambda record: record.display_name,
    "model_id": lambda record: record.id,
    "model_type": lambda record: record.properties.get(MODEL_TYPE),
    "status": lambda record: _STATUS.get(record.status, _PENDING).removeprefix("LOGGED_MODEL_"),
    "source_run_id": lambda record: record.properties.get(SOURCE_RUN),
    "creation_timestamp": lambda record: words.milliseconds(record.created_at),
    "creation_time": lambda record: words.milliseconds(record.created_at),
    "last_updated_timestamp": lambda record: words.milliseconds(record.ended_at or record.created_at),
}


def _checked(comparison: Comparison) -> Comparison:
    if comparison.kind not in (ATTRIBUTE, METRIC, PARAMETER, TAG):
        raise FilterError(f"Logged models are not searched by {comparison.kind}s.")
    if comparison.kind == ATTRIBUTE and comparison.key not in _ATTRIBUTES:
        raise FilterError(f"Invalid attribute key {comparison.key[:100]!r}. Valid keys: {', '.join(_ATTRIBUTES)}.")
    return comparison


def _order(said: Order) -> tuple[Callable[[_Seen], Any], bool]:
    kind, key, _ = parse_order(said.field_name)
    _checked(Comparison(kind, key, "IS NULL"))
    return lambda one: one.values(kind).get(key), said.ascending is not False


def _whole(request: Request, record: RunRecord) -> LoggedModel:
    return _model(request, record, services(request).metrics.last_points([record.id]).get(record.id, {}))


def _model(request: Request, record: RunRecord, last: Mapping[str, Points]) -> LoggedModel:
    experiment_id = words.experiment_id(experiment_of(request, record))
    info = Info(
        model_id=record.id,
        experiment_id=experiment_id,
        name=record.display_name or record.id,
        creation_timestamp_ms=words.milliseconds(record.created_at),
        last_updated_timestamp_ms=words.milliseconds(record.ended_at or record.created_at),
        artifact_uri=words.artifact_uri(record, experiment_id),
        status=_STATUS.get(record.status, _PENDING),
        tags=words.pairs({key: value for key, value in record.tags.items() if key != words.IMPORTED}),
    )
    if MODEL_TYPE in record.properties:
        info["model_type"] = record.properties[MODEL_TYPE]
    if SOURCE_RUN in record.properties:
        info["source_run_id"] = record.properties[SOURCE_RUN]
    metrics = [one for name, points in last.items() for one in words.metrics(name, points)]
    return LoggedModel(info=info, data=Data(params=words.pairs(words.parameters(record)), metrics=metrics))
