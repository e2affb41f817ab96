"""MLflow's routes by which metrics and parameters are logged, one by one or in batches."""

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request

from runyard.errors import RunException
from runyard.protocol.runs import RunChanges, RunRecord
from runyard_server.api.context import services
from runyard_server.api.mlflow import words
from runyard_server.api.mlflow.experiments import Tag
from runyard_server.api.mlflow.failures import absent, invalid
from runyard_server.api.mlflow.runs import LONGEST_KEY, changes_of, check_active, checked_tags, find
from runyard_server.domain import run_arguments
from runyard_server.domain.metric_chunks import Points
from runyard_server.routes import Routes

router = Routes("/api/2.0")

MOST_METRICS, MOST_PAIRS, MOST_ENTITIES = 1000, 100, 1000  # of one batch, as MLflow has it
LONGEST_PARAMETER = 6000
MOST_ORIGINS = 200  # metrics of a logged model of which is kept where the latest number is from

_NAME = re.compile(r"[\w.\- :/]*")
_LATEST_MS = 1 << 53  # beyond, a time in seconds does not keep its milliseconds


@dataclass(frozen=True)
class NewMetric:
    key: str
    value: float
    timestamp: int
    step: int | None = None
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None


@dataclass(frozen=True)
class RunMetric(NewMetric):
    run_id: str | None = None
    run_uuid: str | None = None


@dataclass(frozen=True)
class Parameter:
    key: str
    value: str | None = None


@dataclass(frozen=True)
class RunParameter(Parameter):
    run_id: str | None = None
    run_uuid: str | None = None


@dataclass(frozen=True)
class LogBatch:
    run_id: str
    metrics: list[NewMetric] = field(default_factory=list)
    params: list[Parameter] = field(default_factory=list)
    tags: list[Tag] = field(default_factory=list)


@router.post("/mlflow/runs/log-metric")
def log_metric(said: RunMetric, request: Request) -> Any:
    """Logs one number."""
    record = check_active(find(request, said.run_id, said.run_uuid))
    _add(request, record, [said])
    return {}


@router.post("/mlflow/runs/log-parameter")
def log_parameter(said: RunParameter, request: Request) -> Any:
    """Logs one parameter; it is written once."""
    record = check_active(find(request, said.run_id, said.run_uuid))
    change_parameters(request, record, [said])
    return {}


@router.post("/mlflow/runs/log-batch")
def log_batch(said: LogBatch, request: Request) -> Any:
    """Logs numbers, parameters and tags; nothing of a batch with a fault is kept."""
    record = check_active(find(request, said.run_id))
    count = len(said.metrics) + len(said.params) + len(said.tags)
    for what, number, most in (
        ("metrics", len(said.metrics), MOST_METRICS),
        ("params", len(said.params), MOST_PAIRS),
        ("tags", len(said.tags), MOST_PAIRS),
        ("metrics, params, and tags", count, MOST_ENTITIES),
    ):
        if number > most:
            raise invalid(f"A batch logging request can contain at most {most} {what}. Got {number} {what}.")
    models = _of_models(request, said.metrics)
    by_name(said.metrics)  # checks them: nothing of a batch with a fault is kept
    properties = new_parameters(record, said.params)
    changes = changes_of(checked_tags(words.as_dict(said.tags)))
    if properties or said.tags:
        _change(request, record, RunChanges(changes.tags, None, properties, changes.display_name, changes.description))
    _store(request, record, said.metrics, models)
    return {}


# What the routes have in common


def _add(request: Request, record: RunRecord, said: Sequence[NewMetric]) -> None:
    models = _of_models(request, said)
    _store(request, record, said, models)


def _store(
    request: Request, record: RunRecord, said: Sequence[NewMetric], models: Sequence[tuple[RunRecord, list[NewMetric]]]
) -> None:
    held = services(request)
    held.metrics.add(record.id, by_name(said))
    for model, of_model in models:
        held.metrics.add(model.id, by_name(of_model))
        known, told = words.origins(model), {one.key: _origin(record, one) for one in of_model}
        if any(known.get(key) != value for key, value in told.items()):
            held.runs.add_to_tag(model.id, words.METRIC_ORIGINS, told, MOST_ORIGINS)


def _origin(record: RunRecord, said: NewMetric) -> dict[str, str]:
    told = {"run_id": record.id, "dataset_name": said.dataset_name, "dataset_digest": said.dataset_digest}
    return {key: value for key, value in told.items() if value}


def _of_models(request: Request, said: Sequence[NewMetric]) -> list[tuple[RunRecord, list[NewMetric]]]:
    """What is said of logged models too. Raises MlflowRefusal where one is not here, or something is against the rules."""
    found = []
    for model_id in dict.fromkeys(one.model_id for one in said if one.model_id):
        model = find(request, model_id)
        if model.type != words.LOGGED_MODEL:
            raise absent(f"Logged model with ID '{model_id}' not found.")
        found.append((model, [one for one in said if one.model_id == model_id]))
    return found


def by_name(said: Sequence[NewMetric]) -> dict[str, Points]:
    """Numbers as columns by metric, in their order. Raises MlflowRefusal where one is against the rules."""
    found: dict[str, Points] = {}
    for one in said:
        check_name(one.key, "Metric name")
        if not 0 <= one.timestamp <= _LATEST_MS:
            raise invalid(
                f"Invalid value {one.timestamp} for parameter 'timestamp' supplied: metric '{one.key}' (value="
                f"{one.value}). Timestamp must be a nonnegative long of milliseconds."
            )
        points = found.setdefault(one.key, Points([], [], []))
        points.steps.append(one.step or 0)
        points.times.append(words.seconds(one.timestamp))
        points.values.append(float(one.value))
    return found


def check_name(name: str, what: str) -> None:
    """Raises MlflowRefusal where MLflow takes no such name of a metric or parameter."""
    if not _NAME.fullmatch(name) or not name:
        raise invalid(
            f"Invalid value {name[:100]!r} for parameter 'name' supplied: Names may only contain alphanumerics, "
            "underscores (_), dashes (-), periods (.), spaces ( ), colons(:) and slashes (/)."
        )
    plain = posixpath.normpath(name)
    if plain != name or plain == "." or plain.startswith(("..", "/")):
        raise invalid(
            f"Invalid value {name[:100]!r} for parameter 'name' supplied: Names may be treated as files in certain "
            f"cases, and must not resolve to other names when treated as such. This name would resolve to {plain[:100]!r}"
        )
    if len(name) > LONGEST_KEY:
        raise invalid(f"{what} {name[:60]!r} had length {len(name)}, which exceeded length limit of {LONGEST_KEY}")


def new_parameters(record: RunRecord, said: Sequence[Parameter]) -> dict[str, str]:
    """Parameters as properties. Raises MlflowRefusal where one has another value already, or is against the rules."""
    found: dict[str, str] = {}
    for one in said:
        check_name(one.key, "Param key")
        value = one.value or ""
        if len(value) > LONGEST_PARAMETER:
            raise invalid(
                f"Param value {value[:60]!r} had length {len(value)}, which exceeded length limit of {LONGEST_PARAMETER}"
            )
        key = run_arguments.PARAMETER + one.key
        before = record.properties.get(key, found.get(key, value))
        if before != value:
            raise invalid(
                f"Changing param values is not allowed. Param with key='{one.key}' was already logged with "
                f"value='{before}' for run ID='{record.id}'. Attempted logging new value '{value}'."
            )
        found[key] = value
    return found


def change_parameters(request: Request, record: RunRecord, said: Sequence[Parameter]) -> RunRecord:
    """Adds parameters to a run; gives it as it is then. Raises MlflowRefusal where one has another value already."""
    return _change(request, record, RunChanges(properties=new_parameters(record, said)))


def _change(request: Request, record: RunRecord, changes: RunChanges) -> RunRecord:
    try:
        return services(request).runs.change(record.id, changes)
    except RunException as fault:  # another writer was quicker with a parameter
        raise invalid(f"Changing param values is not allowed. {fault}") from None
