"""Routes by which ``runyard import mlflow`` brings what another MLflow server has, with the ids that it has there.

What they make is what MLflow's other routes make. Beside those, an id, a version's number and past moments are taken
from who asks; only the workspace's token may. Each may be asked again: what is here is brought up to date.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from typing_extensions import TypedDict

from runyard.errors import ModelPathNotFoundException, UnknownRunError
from runyard.names import check_key
from runyard.protocol.experiments import ExperimentChanges, ExperimentRecord
from runyard.protocol.models import ModelChanges, ModelRecord, ModelSpec
from runyard.protocol.runs import InteractiveRunSpec, RunChanges, RunRecord
from runyard.protocol.status import RunStatus
from runyard_server.api.context import caller, services
from runyard_server.api.mlflow import logged_models, model_names, model_versions, model_words, words
from runyard_server.api.mlflow.experiments import Tag, find_or_default
from runyard_server.api.mlflow.failures import exists, invalid
from runyard_server.api.mlflow.metrics import Parameter, change_parameters
from runyard_server.api.mlflow.runs import changes_of, checked_tags, parent_of
from runyard_server.routes import Routes
from runyard_server.services.models import ModelFilter

router = Routes("/api/2.0")

_ID = re.compile(r"[0-9A-Za-z_-]{1,100}")


@dataclass(frozen=True)
class ImportedExperiment:
    experiment_id: str
    name: str
    creation_time: int | None = None
    tags: list[Tag] = field(default_factory=list)


@dataclass(frozen=True)
class ImportedRun:
    """``mark``: says what the run is like there; one that is here with the same mark is here whole."""

    run_id: str
    experiment_id: str
    mark: str
    start_time: int
    status: str = "RUNNING"
    end_time: int | None = None
    run_name: str | None = None
    user_id: str | None = None
    tags: list[Tag] = field(default_factory=list)


@dataclass(frozen=True)
class ImportedModel:
    """``mark``: as of a run."""

    model_id: str
    experiment_id: str
    mark: str
    creation_timestamp_ms: int
    last_updated_timestamp_ms: int
    status: str
    name: str | None = None
    model_type: str | None = None
    source_run_id: str | None = None
    params: list[Parameter] = field(default_factory=list)
    tags: list[Tag] = field(default_factory=list)


@dataclass(frozen=True)
class ImportedVersion(model_versions.NewVersion):
    version: str = ""
    creation_timestamp: int | None = None
    stage: str = "None"


class ExperimentHere(TypedDict):
    """``experiment_id``: the one that it has here."""

    experiment_id: str
    is_new: bool


class RunHere(TypedDict):
    """``is_whole``: all of it is here as it is there. ``is_deleted``: it was here, and somebody has deleted it."""

    is_new: bool
    is_whole: bool
    is_deleted: bool


class VersionHere(TypedDict):
    version: str
    is_new: bool


@router.post("/mlflow/imports/experiments")
def experiment(said: ImportedExperiment, request: Request) -> Any:
    """The experiment of that name, made where there is none: with the same id, unless another one here has it."""
    held, name, ours = services(request).experiments, said.name, words.our_name(said.name)
    _check_id(said.experiment_id)
    tags = words.as_dict(said.tags)
    for key in tags:
        check_key(key)
    if ours != name:
        tags[words.SHOWN_NAME] = name
    is_new = False
    record = held.find(ours)
    if record is None:
        at = words.seconds(said.creation_time) if said.creation_time is not None else None
        # The id 0 is the default experiment's, here as there.
        wanted = said.experiment_id if said.experiment_id != words.DEFAULT_EXPERIMENT_ID else None
        record = held.create(ours, tags, wanted, at) or held.create(ours, tags, None, at)
        is_new = record is not None
        record = record or held.get_or_create(ours)
    elif any(record.tags.get(key) != value for key, value in tags.items()):
        record = held.change(record.id, ExperimentChanges(tags=tags))
    return {"experiment_id": words.experiment_id(record), "is_new": is_new}


@router.post("/mlflow/imports/runs")
def run(said: ImportedRun, request: Request) -> Any:
    """A run with its id; what it logged comes by MLflow's other routes, and its mark as the last of all."""
    there = _there(request, said.run_id, said.mark)
    if isinstance(there, dict):
        return there
    tags = checked_tags(words.as_dict(said.tags))
    if said.user_id:
        tags.setdefault(words.USER, said.user_id)
    changes, held = changes_of(tags), services(request).runs
    name = said.run_name or changes.display_name
    status, ended_at = words.ENDS.get(said.status), said.end_time or said.start_time
    if there is None:
        record = _made(
            request,
            find_or_default(request, said.experiment_id),
            InteractiveRunSpec(
                experiment="",
                id=said.run_id,
                parent=_parent_id(request, tags.get(words.PARENT)),
                display_name=name,
                tags=changes.tags or {},
            ),
            None,
            said.start_time,
            (status, words.seconds(ended_at)) if status is not None else None,
        )
        if changes.description is not None:
            held.change(record.id, RunChanges(description=changes.description))
        return _here(is_new=True)
    held.change(there.id, RunChanges(changes.tags, None, None, name, changes.description))
    if status is not None:
        held.end_interactive(there.id, status, caller(request), words.seconds(ended_at))
    return _here()


@router.post("/mlflow/imports/logged-models")
def logged_model(said: ImportedModel, request: Request) -> Any:
    """A logged model with its id; its files and numbers come by MLflow's other routes, and its mark as the last."""
    there = _there(request, said.model_id, said.mark)
    if isinstance(there, dict):
        return there
    held, tags = services(request).runs, checked_tags(words.as_dict(said.tags))
    status, ended_at = logged_models.ENDS.get(said.status), words.seconds(said.last_updated_timestamp_ms)
    record = there
    if record is None:
        told = {logged_models.MODEL_TYPE: said.model_type, logged_models.SOURCE_RUN: said.source_run_id}
        record = _made(
            request,
            find_or_default(request, said.experiment_id),
            InteractiveRunSpec(
                experiment="",
                id=said.model_id,
                parent=_parent_id(request, said.source_run_id),
                display_name=said.name or said.model_id,
                tags=tags,
                properties={key: value for key, value in told.items() if value},
            ),
            words.LOGGED_MODEL,
            said.creation_timestamp_ms,
            (status, ended_at) if status is not None else None,
        )
    else:
        record = held.change(record.id, RunChanges(tags=tags or None))
        if status is not None:
            held.end_interactive(record.id, status, caller(request), ended_at)
    change_parameters(request, record, said.params)
    return _here(is_new=there is None)


@router.post("/mlflow/imports/model-versions")
def model_version(said: ImportedVersion, request: Request) -> Any:
    """A version with its number, of files that are here already: those of a run, a logged model or another version."""
    name, number = model_names.find(request, said.name), model_words.version_number(said.version)
    held, stage = services(request).models, model_words.checked_stage(said.stage)
    spec = ModelSpec(
        name=name.name,
        tags={**checked_tags(words.as_dict(said.tags)), **({model_words.STAGE: stage} if stage != "None" else {})},
        properties=model_words.properties(said.source, said.run_id, said.run_link, said.model_id),
        description=said.description or None,
    )
    was_here = bool(held.list(ModelFilter(name=name.name, version=number)).models)
    at = words.seconds(said.creation_timestamp) if said.creation_timestamp is not None else None
    try:
        record = held.register(model_versions.with_files(request, said, spec), number, at)
    except ModelPathNotFoundException as fault:
        raise invalid(f"Invalid model version source: '{said.source[:200]}'. {fault}") from None
    assert isinstance(record, ModelRecord)
    if record.properties.get(model_words.SOURCE) != said.source:
        raise exists(f"Version {number} of {said.name!r} is here already, and is another one. It stays as it is.")
    if was_here:
        changes = ModelChanges(
            tags=spec.tags, remove_tags=[model_words.STAGE] if stage == "None" else None, description=said.description
        )
        held.change(record.name, number, changes)
    return {"version": str(number), "is_new": not was_here}


def _check_id(text: str) -> None:
    if not _ID.fullmatch(text):
        raise invalid(f"An id has 1 to 100 letters, digits, '-' and '_', not {text[:120]!r}.")


def _here(is_new: bool = False, is_whole: bool = False, is_deleted: bool = False) -> RunHere:
    return RunHere(is_new=is_new, is_whole=is_whole, is_deleted=is_deleted)


def _there(request: Request, run_id: str, mark: str) -> RunRecord | RunHere | None:
    """What is here of a run, or the answer where nothing is to be done. Raises MlflowRefusal where it is another's."""
    _check_id(run_id)
    try:
        record = services(request).runs.get(run_id)
    except UnknownRunError:
        return _here(is_deleted=True) if services(request).runs.was_deleted(run_id) else None
    if record.spec is not None:
        raise exists(f"The run {run_id} is here already, and was submitted here. It stays as it is.")
    if words.is_deleted(record):
        return _here(is_deleted=True)
    return _here(is_whole=True) if record.tags.get(words.IMPORTED) == mark else record


def _parent_id(request: Request, run_id: str | None) -> str | None:
    parent = parent_of(request, run_id)
    return parent.id if parent is not None else None


def _made(
    request: Request,
    experiment: ExperimentRecord,
    spec: InteractiveRunSpec,
    type: str | None,
    start_ms: int,
    ended: tuple[RunStatus, float] | None,
) -> RunRecord:
    whole = InteractiveRunSpec(**{**vars(spec), "experiment": experiment.name})
    return services(request).runs.start_interactive(
        whole,
        caller(request),
        type=type or "azureml.interactive",
        beats=False,
        started_at=words.seconds(start_ms),
        ended=ended,
    )
