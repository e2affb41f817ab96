"""MLflow's routes of logged models: what a run makes and may be registered later, with files and numbers of its own.

To us a logged model is a run too, below the one that made it: it has files, tags, parameters and metrics, it is being
made until it is whole or has failed. Its type tells it apart; MLflow's searches of runs leave it out.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NotRequired

from fastapi import Request
from typing_extensions import TypedDict

from runyard.protocol.experiments import ExperimentRecord
from runyard.protocol.runs import InteractiveRunSpec, RunChanges, RunRecord
from runyard.protocol.status import RunStatus
from runyard_server.api.context import caller, services
from runyard_server.api.mlflow import run_search, words
from runyard_server.api.mlflow.artifacts import File, below, checked
from runyard_server.api.mlflow.experiments import Tag, find_all, find_or_default
from runyard_server.api.mlflow.failures import MlflowRefusal, absent, invalid
from runyard_server.api.mlflow.metrics import Parameter, change_parameters
from runyard_server.api.mlflow.paging import size_of, start_of, with_token
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
    parse,
    parse_order,
)
from runyard_server.routes import Routes
from runyard_server.services.runs import COLUMN, PROPERTY, STATUS, RunOrder, RunSearch

router = Routes("/api/2.0")

MODEL_TYPE = "mlflow.modelType"
SOURCE_RUN = "mlflow.sourceRunId"

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
    dataset_name: str | None = None
    dataset_digest: str | None = None


@dataclass(frozen=True)
class ModelDataset:
    dataset_name: str
    dataset_digest: str | None = None


@dataclass(frozen=True)
class LoggedModelSearch:
    experiment_ids: list[str] = field(default_factory=list)
    filter: str | None = None
    datasets: list[ModelDataset] | None = None
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


class ModelMetric(words.Metric, total=False):
    """The latest number of a metric, and where it is from as far as that is known."""

    model_id: str
    run_id: str
    dataset_name: str
    dataset_digest: str


class Data(TypedDict):
    params: list[words.Pair]
    metrics: list[ModelMetric]


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
    return {"model": _model(record, experiment, {})}


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
    """Logged models that match, a page of them. A run's token finds those below its run."""
    size = size_of(said.max_results, 50, 1000)
    try:
        wanted = [_told(comparison) for comparison in parse(said.filter)]
        orders = [_order(one) for one in said.order_by or []]
    except FilterError as fault:
        raise invalid(str(fault)) from None
    experiments = {record.name: record for record in find_all(request, said.experiment_ids)}
    asked = RunSearch(
        experiment_ids=[record.id for record in experiments.values()],
        wanted=wanted,
        orders=orders or [RunOrder(COLUMN, "created_at", ascends=False)],
        type=words.LOGGED_MODEL,
        family=request.state.identity.run_id or "",
        archived=False,
    )
    metrics = [one.key for one in wanted if one.kind == METRIC]
    found, token = _page(request, asked, size, start_of(said.page_token), _OfDatasets(said.datasets or [], metrics))
    last = services(request).metrics.last_points([record.id for record in found])
    models = [_model(record, experiments[record.experiment], last.get(record.id, {})) for record in found]
    return with_token({"models": models}, token)


@dataclass(frozen=True)
class _OfDatasets:
    """Whether the metrics that are compared, or any one where none is, were measured on one of these data sets."""

    datasets: Sequence[ModelDataset]
    metrics: Sequence[str]

    def holds(self, record: RunRecord) -> bool:
        if not self.datasets:
            return True
        origins = words.origins(record)
        if self.metrics:
            return all(self._is_one(origins.get(metric, {})) for metric in self.metrics)
        return any(self._is_one(origin) for origin in origins.values())

    def _is_one(self, origin: Mapping[str, str]) -> bool:
        return any(
            origin.get("dataset_name") == one.dataset_name
            and one.dataset_digest in (None, "", origin.get("dataset_digest"))
            for one in self.datasets
        )


def _page(
    request: Request, asked: RunSearch, size: int, start: int, of_datasets: _OfDatasets
) -> tuple[list[RunRecord], str | None]:
    """One page, and where the next one begins. Data sets are no columns: they are looked at portion by portion."""
    found: list[RunRecord] = []
    portion = 1000 if of_datasets.datasets else size + 1
    while True:
        records = services(request).runs.search(replace(asked, limit=portion, offset=start))
        for record in records:
            if of_datasets.holds(record):
                if len(found) == size:
                    return found, str(start)
                found.append(record)
            start += 1
        if len(records) < portion:
            return found, None


_MODEL_TYPE, _SOURCE_RUN = (PROPERTY, MODEL_TYPE), (PROPERTY, SOURCE_RUN)
# Kinds and keys of the records, by MLflow's names.
_ATTRIBUTES = {
    "name": (COLUMN, "name"),
    "model_id": (COLUMN, "id"),
    "model_type": _MODEL_TYPE,
    "status": (STATUS, "status"),
    "source_run_id": _SOURCE_RUN,
    "creation_timestamp": (COLUMN, "created_at"),
    "creation_time": (COLUMN, "created_at"),
    "last_updated_timestamp": (COLUMN, "ended_or_created_at"),
}
_TIMES = frozenset({"created_at", "ended_or_created_at"})


def _named(kind: str, key: str) -> tuple[str, str]:
    """What a kind and a key of MLflow's are in the records. Raises FilterError."""
    if kind not in (ATTRIBUTE, METRIC, PARAMETER, TAG):
        raise FilterError(f"Logged models are not searched by {kind}s.")
    if kind != ATTRIBUTE:
        return run_search.named(kind, key)
    if key not in _ATTRIBUTES:
        raise FilterError(f"Invalid attribute key {key[:100]!r}. Valid keys: {', '.join(_ATTRIBUTES)}.")
    return _ATTRIBUTES[key]


def _told(one: Comparison) -> Comparison:
    """A comparison in the words of the records. Raises FilterError where MLflow has none such."""
    kind, key = _named(one.kind, one.key)
    known = run_search.checked(one, kind, key, is_time=kind == COLUMN and key in _TIMES)
    if kind != STATUS:
        return known
    asked = {text.upper() for text in (one.value if isinstance(one.value, tuple) else (str(one.value),))}
    statuses = tuple(
        status.value for status in RunStatus if _STATUS.get(status, _PENDING).removeprefix("LOGGED_MODEL_") in asked
    )
    return Comparison(STATUS, "status", run_search.membership(one.sign), statuses)


def _order(said: Order) -> RunOrder:
    kind, key, _ = parse_order(said.field_name)
    if said.dataset_name or said.dataset_digest:
        raise FilterError("Logged models are not ordered by a metric on one data set: leave out dataset_name.")
    return RunOrder(*_named(kind, key), said.ascending is not False)


def _whole(request: Request, record: RunRecord) -> LoggedModel:
    last = services(request).metrics.last_points([record.id]).get(record.id, {})
    return _model(record, experiment_of(request, record), last)


def _model(record: RunRecord, experiment: ExperimentRecord, last: Mapping[str, Points]) -> LoggedModel:
    experiment_id = words.experiment_id(experiment)
    info = Info(
        model_id=record.id,
        experiment_id=experiment_id,
        name=record.display_name or record.id,
        creation_timestamp_ms=words.milliseconds(record.created_at),
        last_updated_timestamp_ms=words.milliseconds(record.ended_at or record.created_at),
        artifact_uri=words.artifact_uri(record, experiment_id),
        status=_STATUS.get(record.status, _PENDING),
        tags=words.pairs({key: value for key, value in record.tags.items() if key not in words.OWN_TAGS}),
    )
    if MODEL_TYPE in record.properties:
        info["model_type"] = record.properties[MODEL_TYPE]
    if SOURCE_RUN in record.properties:
        info["source_run_id"] = record.properties[SOURCE_RUN]
    origins = words.origins(record)
    metrics = [
        ModelMetric(**one, model_id=record.id, **origins.get(name, {}))  # type: ignore[typeddict-item]
        for name, points in last.items()
        for one in words.metrics(name, points)
    ]
    return LoggedModel(info=info, data=Data(params=words.pairs(words.parameters(record)), metrics=metrics))
