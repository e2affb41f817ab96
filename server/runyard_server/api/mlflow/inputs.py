"""MLflow's routes of what runs read and made: data sets and logged models. Both are kept as properties of the run."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from fastapi import Request
from typing_extensions import TypedDict

from runyard.protocol.runs import RunChanges, RunRecord
from runyard_server.api.context import services
from runyard_server.api.mlflow import words
from runyard_server.api.mlflow.experiments import Tag, find_all
from runyard_server.api.mlflow.failures import PAGES, invalid
from runyard_server.api.mlflow.runs import check_active, find
from runyard_server.domain import dataset_inputs
from runyard_server.routes import Routes

router = Routes("/api/2.0")
of_pages = Routes(f"{PAGES}2.0")

MOST = 1000  # data sets or models of one request
LONGEST_NAME, LONGEST_DIGEST = 500, 36
# A record of a run is read often: of a data set whose description is longer, first the profile is left out, then the
# schema.
LONGEST = 16_384
MOST_EXPERIMENTS = 20  # whose data sets are asked for at once
MOST_LISTED = 1000  # data sets, and runs that are looked at for them


@dataclass(frozen=True)
class Dataset:
    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str | None = None
    profile: str | None = None


@dataclass(frozen=True)
class DatasetInput:
    dataset: Dataset
    tags: list[Tag] = field(default_factory=list)


@dataclass(frozen=True)
class ModelInput:
    model_id: str


@dataclass(frozen=True)
class ModelOutput:
    model_id: str
    step: int = 0


@dataclass(frozen=True)
class LogInputs:
    run_id: str
    datasets: list[DatasetInput] | None = None
    models: list[ModelInput] | None = None


@dataclass(frozen=True)
class LogOutputs:
    run_id: str
    models: list[ModelOutput]


@dataclass(frozen=True)
class DatasetSearch:
    experiment_ids: list[str] = field(default_factory=list)


class DatasetSummary(TypedDict, total=False):
    experiment_id: str
    name: str
    digest: str
    context: str


class Datasets(TypedDict):
    dataset_summaries: list[DatasetSummary]


@router.post("/mlflow/runs/log-inputs")
def log_inputs(said: LogInputs, request: Request) -> Any:
    """Notes the data sets and models that a run reads; what is known already stays as it is."""
    record = check_active(find(request, said.run_id))
    _check_count(len(said.datasets or ()), "datasets")
    _check_count(len(said.models or ()), "models")
    new = {words.INPUT_MODEL + model.model_id: "" for model in said.models or ()}
    for one in said.datasets or ():
        if len(one.dataset.name) > LONGEST_NAME or len(one.dataset.digest) > LONGEST_DIGEST:
            raise invalid(
                f"A dataset's name has at most {LONGEST_NAME} characters and its digest {LONGEST_DIGEST}; this is "
                f"{one.dataset.name[:60]!r}, {one.dataset.digest[:60]!r}."
            )
        new.setdefault(f"{words.INPUT_DATASET}{one.dataset.digest}.{one.dataset.name}", _described(one))
    _add(request, record, new)
    return {}


@router.post("/mlflow/runs/outputs")
def log_outputs(said: LogOutputs, request: Request) -> Any:
    """Notes the models that a run makes."""
    record = check_active(find(request, said.run_id))
    _check_count(len(said.models), "models")
    _add(request, record, {words.OUTPUT_MODEL + model.model_id: str(model.step) for model in said.models})
    return {}


@of_pages.post("/mlflow/experiments/search-datasets")
def search_datasets(said: DatasetSearch, request: Request) -> Any:
    """The data sets that the newest runs of some experiments read, each once."""
    if not said.experiment_ids:
        raise invalid("SearchDatasets request must specify at least one experiment_id.")
    if len(said.experiment_ids) > MOST_EXPERIMENTS:
        raise invalid(
            f"SearchDatasets request cannot specify more than {MOST_EXPERIMENTS} experiment_ids. "
            f"Received {len(said.experiment_ids)} experiment_ids."
        )
    experiments = {record.name: record for record in find_all(request, said.experiment_ids)}
    ids = [record.id for record in experiments.values()]
    found: dict[tuple[str, ...], DatasetSummary] = {}
    for record in services(request).runs.with_property_below(ids, words.INPUT_DATASET, MOST_LISTED):
        for one in words.dataset_inputs(record):
            summary = DatasetSummary(
                experiment_id=words.experiment_id(experiments[record.experiment]),
                name=one["dataset"].get("name", ""),
                digest=one["dataset"].get("digest", ""),
            )
            context = next((tag["value"] for tag in one["tags"] if tag["key"] == dataset_inputs.CONTEXT), None)
            if context is not None:
                summary["context"] = context
            found.setdefault(tuple(str(value) for value in summary.values()), summary)
    return {"dataset_summaries": list(found.values())[:MOST_LISTED]}


def _add(request: Request, record: RunRecord, new: dict[str, str]) -> None:
    unknown = {key: value for key, value in new.items() if key not in record.properties}
    if unknown:
        services(request).runs.change(record.id, RunChanges(properties=unknown))


def _check_count(count: int, what: str) -> None:
    if count > MOST:
        raise invalid(f"A request can contain at most {MOST} {what}. Got {count}.")


def _described(one: DatasetInput) -> str:
    text = next((text for text in _descriptions(one) if len(text) <= LONGEST), None)
    if text is None:
        raise invalid(f"The source of the dataset {one.dataset.name[:60]!r} is too long to be kept.")
    return text


def _descriptions(one: DatasetInput) -> Iterator[str]:
    """From the whole one to the shortest."""
    dataset = asdict(one.dataset)
    tags = words.pairs(words.as_dict(one.tags))
    for left_out in ((), ("profile",), ("profile", "schema")):
        kept = {key: value for key, value in dataset.items() if value is not None and key not in left_out}
        yield json.dumps({"dataset": kept, "tags": tags})
