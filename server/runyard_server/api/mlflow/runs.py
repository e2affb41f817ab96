"""MLflow's routes of runs: made, ended, tagged, found. A run of an MLflow client is an interactive run of ours."""

import json
import uuid
from dataclasses import dataclass, field
from typing import Any, NotRequired

from fastapi import Request
from typing_extensions import TypedDict

from runyard.errors import PermissionDeniedError, UnknownRunError
from runyard.names import check_key
from runyard.protocol.experiments import ExperimentRecord
from runyard.protocol.runs import InteractiveRunSpec, RunChanges, RunRecord
from runyard_server.api.context import caller, services
from runyard_server.api.mlflow import words
from runyard_server.api.mlflow.experiments import Tag, find_or_default
from runyard_server.api.mlflow.failures import absent, invalid, missing
from runyard_server.routes import Routes

router = Routes("/api/2.0")

MODEL_HISTORY = "mlflow.log-model.history"
LONGEST_KEY = 250
_STATUSES = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")


@dataclass(frozen=True)
class NewRun:
    experiment_id: str | None = None
    user_id: str | None = None
    run_name: str | None = None
    start_time: int | None = None
    tags: list[Tag] = field(default_factory=list)


@dataclass(frozen=True)
class RunUpdate:
    run_id: str | None = None
    run_uuid: str | None = None
    status: str | None = None
    end_time: int | None = None
    run_name: str | None = None


@dataclass(frozen=True)
class RunId:
    run_id: str


@dataclass(frozen=True)
class RunTag:
    key: str
    run_id: str | None = None
    run_uuid: str | None = None
    value: str | None = None


@dataclass(frozen=True)
class RunTagKey:
    run_id: str
    key: str


@dataclass(frozen=True)
class LoggedModelText:
    run_id: str
    model_json: str


class OneRun(TypedDict):
    run: words.Run


class OneRunInfo(TypedDict):
    run_info: words.RunInfo


class RunPage(TypedDict):
    runs: list[words.Run]
    next_page_token: NotRequired[str]


# Which run


def find(request: Request, run_id: str | None, older_name: str | None = None) -> RunRecord:
    """The run of that id; ``older_name``: what a client of before calls the same.

    Raises:
        MlflowRefusal: none was named, or there is no such run.
        PermissionDeniedError: the token is a run's, and this is neither that run nor below it.
    """
    asked = run_id or older_name
    if not asked:
        raise missing("run_id")
    held, own = services(request).runs, request.state.identity.run_id
    try:
        record = held.get(asked)
    except UnknownRunError:
        if own is not None:
            raise _not_own() from None  # a run's token does not tell which other runs there are
        raise absent(f"Run with id={asked} not found") from None
    if own is not None and not held.is_below(record, own):
        raise _not_own()
    return record


def check_active(record: RunRecord) -> RunRecord:
    """The run, where it is not deleted. Raises MlflowRefusal otherwise."""
    if words.is_deleted(record):
        raise invalid(f"The run {record.id} must be in the 'active' state. Current state is deleted.")
    return record


def _not_own() -> PermissionDeniedError:
    return PermissionDeniedError("A run's token is good for that run and what is below it alone.")


def whole(request: Request, records: list[RunRecord]) -> list[words.Run]:
    """Runs with the last point of each of their metrics."""
    held = services(request)
    last = held.metrics.last_points([record.id for record in records])
    experiments = held.experiments.get_many(names=list({record.experiment for record in records}))
    ids = {experiment.name: words.experiment_id(experiment) for experiment in experiments}
    return [words.run(record, ids[record.experiment], last.get(record.id, {})) for record in records]


def experiment_of(request: Request, record: RunRecord) -> ExperimentRecord:
    return services(request).experiments.get(record.experiment)


# Routes


@router.post("/mlflow/runs/create")
def create(said: NewRun, request: Request) -> Any:
    """A new run, which goes on until its client ends it. With a run's token it stands below that run."""
    held = services(request)
    experiment = find_or_default(request, said.experiment_id)
    if experiment.archived_at is not None:
        raise invalid(
            f"The experiment {words.experiment_id(experiment)} must be in the 'active' state. Current state is deleted."
        )
    tags = checked_tags(words.as_dict(said.tags))
    if said.user_id:
        tags.setdefault(words.USER, said.user_id)
    parent, own = parent_of(request, tags.get(words.PARENT)), request.state.identity.run_id
    if own is not None and (parent is None or not held.runs.is_below(parent, own)):
        parent = find(request, own)
    changes = changes_of(tags)
    spec = InteractiveRunSpec(
        experiment=experiment.name,
        id=uuid.uuid4().hex,
        parent=parent.id if parent is not None else None,
        display_name=said.run_name or changes.display_name,
        tags=changes.tags or {},
    )
    started_at = words.seconds(said.start_time) if said.start_time is not None else None
    record = held.runs.start_interactive(spec, caller(request), beats=False, started_at=started_at)
    if changes.description is not None:
        record = held.runs.change(record.id, RunChanges(description=changes.description))
    return {"run": whole(request, [record])[0]}


@router.post("/mlflow/runs/update")
def update(said: RunUpdate, request: Request) -> Any:
    """Ends a run, or names it. What has ended stays ended; how a submitted run ends is its supervisor's to say."""
    record = check_active(find(request, said.run_id, said.run_uuid))
    held = services(request).runs
    if said.status is not None and said.status not in _STATUSES:
        raise invalid(f"Invalid value {said.status!r} for parameter 'status' supplied: {', '.join(_STATUSES)}.")
    if said.run_name:
        record = held.change(record.id, RunChanges(display_name=said.run_name))
    if said.status in words.ENDS:
        ended_at = words.seconds(said.end_time) if said.end_time is not None else None
        record = held.end_interactive(record.id, words.ENDS[said.status], caller(request), ended_at)
    experiment = experiment_of(request, record)
    return {"run_info": words.run_info(record, words.experiment_id(experiment))}


@router.get("/mlflow/runs/get")
def get(request: Request, run_id: str | None = None, run_uuid: str | None = None) -> Any:
    """One run, with the last point of each of its metrics."""
    return {"run": whole(request, [find(request, run_id, run_uuid)])[0]}


@router.post("/mlflow/runs/delete")
def delete(said: RunId, request: Request) -> Any:
    """Archives a run. Nothing of it is removed."""
    record = find(request, said.run_id)
    services(request).runs.change(record.id, RunChanges(archived=True))
    return {}


@router.post("/mlflow/runs/restore")
def restore(said: RunId, request: Request) -> Any:
    """Brings an archived run back."""
    record = find(request, said.run_id)
    services(request).runs.change(record.id, RunChanges(archived=False))
    return {}


@router.post("/mlflow/runs/set-tag")
def set_tag(said: RunTag, request: Request) -> Any:
    """Sets one tag of a run."""
    record = check_active(find(request, said.run_id, said.run_uuid))
    held = services(request)
    held.runs.change(record.id, changes_of(checked_tags({said.key: said.value or ""})))
    if said.key == words.IMPORTED and record.status.is_terminal:  # all of it is here: its end was long ago
        held.metrics.settle(record.id)
    return {}


@router.post("/mlflow/runs/delete-tag")
def delete_tag(said: RunTagKey, request: Request) -> Any:
    """Removes one tag of a run."""
    record = check_active(find(request, said.run_id))
    if said.key not in words.tags(record):
        raise absent(f"No tag with name: {said.key} in run with id {record.id}")
    held = services(request).runs
    if said.key == words.NOTE:
        held.change(record.id, RunChanges(description=""))
    else:
        held.change(record.id, RunChanges(remove_tags=[said.key]))
    return {}


@router.post("/mlflow/runs/log-model")
def log_model(said: LoggedModelText, request: Request) -> Any:
    """Notes that a model lies among the run's files, as clients before MLflow 3 do."""
    record = check_active(find(request, said.run_id))
    try:
        model = json.loads(said.model_json)
    except (ValueError, RecursionError):
        raise invalid(f"Malformed model info. \n {said.model_json[:200]} \n is not a valid JSON.") from None
    lacking = {"artifact_path", "flavors", "utc_time_created", "run_id"} - set(model if isinstance(model, dict) else ())
    if lacking:
        raise invalid(f"Model json is missing mandatory fields: {sorted(lacking)}")
    history = [*words.list_in(record.tags.get(MODEL_HISTORY)), model]
    services(request).runs.change(record.id, RunChanges(tags={MODEL_HISTORY: json.dumps(history)}))
    return {}


# Tags


def checked_tags(tags: dict[str, str]) -> dict[str, str]:
    """Tags by the rules. Raises MlflowRefusal, UserErrorException."""
    for key in tags:
        if len(key) > LONGEST_KEY:
            raise invalid(f"Tag name {key[:60]!r} had length {len(key)}, which exceeded length limit of {LONGEST_KEY}")
        check_key(key)
    return tags


def changes_of(tags: dict[str, str]) -> RunChanges:
    """What MLflow's tags change of a run: those that are fields of ours become these."""
    kept = {key: value for key, value in tags.items() if key not in (words.RUN_NAME, words.NOTE)}
    return RunChanges(tags=kept or None, display_name=tags.get(words.RUN_NAME), description=tags.get(words.NOTE))


def parent_of(request: Request, run_id: str | None) -> RunRecord | None:
    """The run that another one names as its parent; None where there is none such here."""
    if not run_id:
        return None
    try:
        return services(request).runs.get(run_id)
    except UnknownRunError:
        return None  # MLflow keeps the tag whatever it names
