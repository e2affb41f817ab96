"""What our records are called on MLflow's wire, and the other way round: experiments, runs, numbers, times.

An experiment's name is ours where our rules allow it; any other gets a name of ours that is made from it, and stands
itself in a tag. A parameter of a run is a property, since both are written once. A name, a note and a parent, which
MLflow keeps in tags, are the run's own display name, description and parent.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from typing_extensions import TypedDict

from runyard.errors import ExperimentException
from runyard.names import check_experiment_name
from runyard.protocol.experiments import ExperimentRecord
from runyard.protocol.runs import RunRecord
from runyard.protocol.status import RunStatus
from runyard_server.domain.dataset_inputs import PREFIX
from runyard_server.domain.metric_chunks import Points
from runyard_server.domain.run_arguments import PARAMETER
from runyard_server.domain.run_types import LOGGED_MODEL as LOGGED_MODEL

DEFAULT_EXPERIMENT, DEFAULT_EXPERIMENT_ID = "Default", "0"

# Tags and properties by which we remember what MLflow says and we have no field for.
SHOWN_NAME = "mlflow.experimentName"
IMPORTED = "mlflow.imported"  # what a run was like elsewhere, when all of it had been brought here
METRIC_ORIGINS = "mlflow.metricOrigins"  # of a logged model's metrics: the run and the data set of the latest number
OWN_TAGS = frozenset({IMPORTED, METRIC_ORIGINS})  # that MLflow's clients are not told of
INPUT_DATASET, INPUT_MODEL, OUTPUT_MODEL = PREFIX, "mlflow.input.", "mlflow.output."

RUN_NAME, NOTE, PARENT, USER = "mlflow.runName", "mlflow.note.content", "mlflow.parentRunId", "mlflow.user"

ACTIVE, DELETED = "active", "deleted"

STATUS: dict[RunStatus, str] = {
    RunStatus.NOT_STARTED: "SCHEDULED",
    RunStatus.STARTING: "SCHEDULED",
    RunStatus.PREPARING: "SCHEDULED",
    RunStatus.QUEUED: "SCHEDULED",
    RunStatus.RUNNING: "RUNNING",
    RunStatus.FINALIZING: "RUNNING",
    RunStatus.NOT_RESPONDING: "RUNNING",
    RunStatus.CANCEL_REQUESTED: "RUNNING",
    RunStatus.COMPLETED: "FINISHED",
    RunStatus.FAILED: "FAILED",
    RunStatus.CANCELED: "KILLED",
}
ENDS: dict[str, RunStatus] = {word: status for status, word in STATUS.items() if status.is_terminal}


class Pair(TypedDict):
    key: str
    value: str


class Experiment(TypedDict):
    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: str
    last_update_time: int
    creation_time: int
    tags: list[Pair]


class Metric(TypedDict):
    """One number; NaN and the infinities are texts, as in protobuf's JSON."""

    key: str
    value: float | str
    timestamp: int
    step: int


class RunInfo(TypedDict, total=False):
    run_id: str
    run_uuid: str
    run_name: str
    experiment_id: str
    user_id: str
    status: str
    start_time: int
    end_time: int
    artifact_uri: str
    lifecycle_stage: str


class RunData(TypedDict):
    metrics: list[Metric]
    params: list[Pair]
    tags: list[Pair]


class Dataset(TypedDict, total=False):
    name: str
    digest: str
    source_type: str
    source: str
    schema: str
    profile: str


class DatasetInput(TypedDict):
    dataset: Dataset
    tags: list[Pair]


class ModelInput(TypedDict):
    model_id: str


class ModelOutput(TypedDict):
    model_id: str
    step: int


class RunInputs(TypedDict):
    dataset_inputs: list[DatasetInput]
    model_inputs: list[ModelInput]


class RunOutputs(TypedDict):
    model_outputs: list[ModelOutput]


class Run(TypedDict):
    info: RunInfo
    data: RunData
    inputs: RunInputs
    outputs: RunOutputs


# Times and numbers


def milliseconds(at: float) -> int:
    return round(at * 1000)


def seconds(milliseconds_: int) -> float:
    return milliseconds_ / 1000


def number(value: float) -> float | str:
    """A number as protobuf's JSON has it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def pairs(values: Mapping[str, str]) -> list[Pair]:
    return [Pair(key=key, value=value) for key, value in values.items()]


def metrics(name: str, points: Points) -> list[Metric]:
    """A metric's points."""
    return [
        Metric(key=name, value=number(value), timestamp=milliseconds(at), step=step or 0)
        for step, at, value in zip(points.steps, points.times, points.values, strict=True)
    ]


def origins(record: RunRecord) -> dict[str, dict[str, str]]:
    """The run and the data set of the latest number of a logged model's metrics, as far as they are known."""
    said = _read(record.tags.get(METRIC_ORIGINS) or "{}")
    return {
        metric: {key: str(known[key]) for key in ("run_id", "dataset_name", "dataset_digest") if key in known}
        for metric, known in (said.items() if isinstance(said, dict) else ())
        if isinstance(known, dict)
    }


def list_in(text: str | None) -> list[Any]:
    """The JSON list that a tag holds; an empty one where it holds none, since anybody may set a tag."""
    try:
        known = json.loads(text or "[]")
    except ValueError:
        return []
    return known if isinstance(known, list) else []


# Experiments


def our_name(shown: str) -> str:
    """The name of ours for an experiment that MLflow's clients call ``shown``; the same one every time."""
    try:
        return check_experiment_name(shown)
    except ExperimentException:
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", shown).strip("-_")[:200]
        return f"{plain or 'experiment'}-{sha256(shown.encode('utf-8', 'replace')).hexdigest()[:8]}"


def experiment_id(record: ExperimentRecord) -> str:
    return DEFAULT_EXPERIMENT_ID if record.name == DEFAULT_EXPERIMENT else record.id


def shown_name(record: ExperimentRecord) -> str:
    return record.tags.get(SHOWN_NAME, record.name)


def updated_ms(record: ExperimentRecord) -> int:
    """When an experiment was changed last."""
    return milliseconds(record.changed_at or record.archived_at or record.created_at)


def experiment(record: ExperimentRecord) -> Experiment:
    return Experiment(
        experiment_id=experiment_id(record),
        name=shown_name(record),
        artifact_location=f"mlflow-artifacts:/{experiment_id(record)}",
        lifecycle_stage=ACTIVE if record.archived_at is None else DELETED,
        creation_time=milliseconds(record.created_at),
        last_update_time=updated_ms(record),
        tags=pairs({key: value for key, value in record.tags.items() if key != SHOWN_NAME}),
    )


# Runs


def is_deleted(record: RunRecord) -> bool:
    return record.archived_at is not None


def artifact_uri(record: RunRecord, experiment_id_: str) -> str:
    return f"mlflow-artifacts:/{experiment_id_}/{record.id}/artifacts"


def run_info(record: RunRecord, experiment_id_: str) -> RunInfo:
    info = RunInfo(
        run_id=record.id,
        run_uuid=record.id,
        run_name=record.display_name or record.id,
        experiment_id=experiment_id_,
        user_id=record.tags.get(USER) or (record.submitted_by if record.spec else None) or "unknown",
        status=STATUS[record.status],
        start_time=milliseconds(record.started_at or record.created_at),
        artifact_uri=artifact_uri(record, experiment_id_),
        lifecycle_stage=DELETED if is_deleted(record) else ACTIVE,
    )
    if record.ended_at is not None:
        info["end_time"] = milliseconds(record.ended_at)
    return info


def tags(record: RunRecord) -> dict[str, str]:
    """A run's tags as MLflow has them."""
    own = {RUN_NAME: record.display_name or record.id, NOTE: record.description, PARENT: record.parent_id}
    kept = {key: value for key, value in record.tags.items() if key not in OWN_TAGS}
    return {**kept, **{key: value for key, value in own.items() if value is not None}}


def parameters(record: RunRecord) -> dict[str, str]:
    """A run's parameters as MLflow has them."""
    return _below(record, PARAMETER)


def _below(record: RunRecord, prefix: str) -> dict[str, str]:
    return {key.removeprefix(prefix): value for key, value in record.properties.items() if key.startswith(prefix)}


def _read(text: str) -> Any:
    """JSON of ours; None where somebody else has written something that is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def dataset_inputs(record: RunRecord) -> list[DatasetInput]:
    """The data sets that a run read, as MLflow has them."""
    found = []
    for text in _below(record, INPUT_DATASET).values():
        said = _read(text)
        if isinstance(said, dict) and isinstance(said.get("dataset"), dict):
            dataset = {key: str(said["dataset"][key]) for key in Dataset.__annotations__ if key in said["dataset"]}
            tags = [tag for tag in said.get("tags") or () if isinstance(tag, dict)]
            pairs_ = {str(tag.get("key", "")): str(tag.get("value", "")) for tag in tags}
            found.append(DatasetInput(dataset=Dataset(**dataset), tags=pairs(pairs_)))  # type: ignore[typeddict-item]
    return found


def run(record: RunRecord, experiment_id_: str, last: Mapping[str, Points]) -> Run:
    """A run whole; ``last``: the last point of each of its metrics."""
    return Run(
        info=run_info(record, experiment_id_),
        data=RunData(
            metrics=[one for name, points in last.items() for one in metrics(name, points)],
            params=pairs(parameters(record)),
            tags=pairs(tags(record)),
        ),
        inputs=RunInputs(
            dataset_inputs=dataset_inputs(record),
            model_inputs=[ModelInput(model_id=model_id) for model_id in _below(record, INPUT_MODEL)],
        ),
        outputs=RunOutputs(
            model_outputs=[
                ModelOutput(model_id=model_id, step=int(step) if step.isdecimal() and step.isascii() else 0)
                for model_id, step in _below(record, OUTPUT_MODEL).items()
            ]
        ),
    )


def as_dict(said: Iterable[Any]) -> dict[str, str]:
    """Pairs with ``key`` and ``value`` that a client sent; the last of a key counts, and no value is an empty one."""
    return {one.key: one.value or "" for one in said}
