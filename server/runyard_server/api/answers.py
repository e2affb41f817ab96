"""What each route answers: the one declared table behind the OpenAPI document. A route without a row fails a test.

A row knows shapes and statuses, not how they come about. Statuses that follow from a route's kind (a token is asked
for, a body is read, a name may be unknown) are added by ``document.py`` and are not repeated here.
"""

from dataclasses import dataclass
from typing import Any, Literal

from typing_extensions import TypedDict

from runyard.protocol.cleaning import Cleaning
from runyard.protocol.compute import ComputeNode, ComputeRecord, VmSizeRecord
from runyard.protocol.datasets import DatasetRecord
from runyard.protocol.datastores import DatastoreRecord, UploadAnswer
from runyard.protocol.environments import CachedEnvironment, EnvironmentBuild, EnvironmentRecord, PrunedEnvironments
from runyard.protocol.exhibits import Exhibits
from runyard.protocol.experiments import ExperimentRecord
from runyard.protocol.files import FileEntry, Manifest, ManifestAnswer
from runyard.protocol.jobs import JobReply, RankStatus, StackRequest
from runyard.protocol.models import ModelRecord
from runyard.protocol.retention import RetentionOutcome, RetentionRuleRecord
from runyard.protocol.runs import DeletedRun, RunEvent, RunRecord
from runyard_server.api.mlflow import artifacts as mlflow_artifacts
from runyard_server.api.mlflow import experiments as mlflow_experiments
from runyard_server.api.mlflow import imports as mlflow_imports
from runyard_server.api.mlflow import inputs as mlflow_inputs
from runyard_server.api.mlflow import logged_models as mlflow_models
from runyard_server.api.mlflow import metric_histories as mlflow_histories
from runyard_server.api.mlflow import model_names as mlflow_names
from runyard_server.api.mlflow import model_versions as mlflow_versions
from runyard_server.api.mlflow import parts as mlflow_parts
from runyard_server.api.mlflow import runs as mlflow_runs
from runyard_server.api.mlflow import server as mlflow_server
from runyard_server.services.admission import Admitted
from runyard_server.services.tensorboard import Taken

JSON = "application/json"
BYTES = "application/octet-stream"
ZIP = "application/zip"
EVENTS = "text/event-stream"
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Answer:
    """A route's answers.

    Attributes:
        shape: type of the JSON answer; None for other media.
        media: media type of the answer.
        body: media type of a request body that is taken as bytes; "" where there is none or it is JSON.
        more: statuses beside those that follow from the route's kind.
    """

    shape: Any = None
    media: str = JSON
    body: str = ""
    more: tuple[int, ...] = ()


class Nothing(TypedDict):
    """An empty object: it is done."""


class Health(TypedDict):
    ok: bool
    instance: str
    protocol: int
    version: str


class WorkspaceAnswer(TypedDict):
    """The workspace; what people call it stands beside these where it is set."""

    id: str
    name: str
    created_at: float


@dataclass(frozen=True)
class RunWithAddress(RunRecord):
    """A run, and the address at which a browser shows it for a week."""

    portal_url: str = ""


class RunWithToken(TypedDict):
    """A run that the caller has made, and the token that is good for it alone."""

    run: RunRecord
    token: str


class Why(TypedDict):
    status: str
    since: float
    reason: str
    position: int


class StreamProof(TypedDict):
    name: str
    written: int | None
    stored: int
    records: int


class FilesProof(TypedDict):
    count: int
    damaged: list[str]


class Proof(TypedDict):
    ok: bool
    streams: list[StreamProof]
    files: FilesProof


class EnvironmentList(TypedDict):
    environments: list[EnvironmentRecord]


class CachedList(TypedDict):
    environments: list[CachedEnvironment]


class DatasetList(TypedDict):
    datasets: list[DatasetRecord]


class ModelPage(TypedDict):
    models: list[ModelRecord]
    next: str | None


class StreamSize(TypedDict):
    size: int
    rest_s: float


class Metrics(TypedDict):
    metrics: dict[str, Any]
    warnings: list[str]


class RunTable(TypedDict):
    """A page of runs. ``values`` has a row for each, with what each of the columns that were asked for says of it."""

    runs: list[RunRecord]
    values: list[list[str | float | None]]
    next: str | None


class MetricGlance(TypedDict):
    """``glance`` says in a few words what a metric that is no number is."""

    name: str
    type: str
    description: str | None
    glance: str | None
    count: int
    last: float | None
    min: float | None
    max: float | None
    last_step: int | None
    min_step: int | None
    max_step: int | None


class MetricPage(TypedDict):
    metrics: list[MetricGlance]
    count: int
    next: str | None


class Curve(TypedDict):
    """``axis`` is step, place (first, second, ... point), elapsed or time. Both columns are of one length."""

    run_id: str
    name: str
    axis: str
    count: int
    xs: list[float]
    values: list[float | Literal["NaN", "Infinity", "-Infinity"]]


class CurveList(TypedDict):
    curves: list[Curve]


class History(TypedDict):
    """Three columns of one length. Numbers are written as Python's json does: NaN and Infinity come as such."""

    name: str
    type: str
    count: int
    steps: list[int | None]
    times: list[float]
    values: list[float]


class LogSize(TypedDict):
    name: str
    size: int


class Missing(TypedDict):
    missing: list[str]


class Kept(TypedDict):
    kept: int


class Invited(TypedDict):
    """Where open files change hands; null for who is on another machine."""

    socket: str | None
    ticket: str | None


class Begun(TypedDict):
    """A node's job: what it is to do, the token with which it speaks, and how the job is to end already, if it is."""

    task: dict[str, Any]
    token: str
    wanted: str
    claim: str


class Wanted(TypedDict):
    """How a node's job is to end: "end", "kill", or not at all ("")."""

    wanted: str


class GoesOn(TypedDict):
    """Whether the driver of a gang is to go on: its attempt was not taken back."""

    goes_on: bool


class Lent(Invited):
    """And the names of the files: those that may come, or are lent in this order."""

    paths: list[str]


PARTIAL, CLASH, LIMIT, FULL = 206, 409, 429, 507

TABLE: dict[tuple[str, str], Answer] = {
    ("GET", "/api/v1/openapi.json"): Answer(dict[str, Any]),
    ("GET", "/api/v1/health"): Answer(Health),
    ("GET", "/api/v1/workspace"): Answer(WorkspaceAnswer),
    ("PATCH", "/api/v1/workspace"): Answer(WorkspaceAnswer),
    ("GET", "/api/v1/experiments"): Answer(list[ExperimentRecord]),
    ("PUT", "/api/v1/experiments/{name}"): Answer(ExperimentRecord),
    ("GET", "/api/v1/experiments/{name}"): Answer(ExperimentRecord),
    ("PATCH", "/api/v1/experiments/{name}"): Answer(ExperimentRecord),
    ("DELETE", "/api/v1/experiments/{name}"): Answer(Nothing),
    ("POST", "/api/v1/runs"): Answer(RunRecord, more=(404, LIMIT, FULL)),
    ("POST", "/api/v1/runs/check"): Answer(Admitted, more=(404,)),
    ("POST", "/api/v1/interactive-runs"): Answer(RunWithToken, more=(404, LIMIT)),
    ("GET", "/api/v1/runs"): Answer(list[RunRecord], more=(404,)),
    ("GET", "/api/v1/run-table"): Answer(RunTable),
    ("GET", "/api/v1/runs/{run_id}"): Answer(RunWithAddress),
    ("PATCH", "/api/v1/runs/{run_id}"): Answer(RunWithAddress),
    ("DELETE", "/api/v1/runs/{run_id}"): Answer(list[DeletedRun]),
    ("GET", "/api/v1/deleted-runs"): Answer(list[DeletedRun]),
    ("POST", "/api/v1/cleaning"): Answer(Cleaning),
    ("GET", "/api/v1/retention-rules"): Answer(list[RetentionRuleRecord]),
    ("POST", "/api/v1/retention-rules"): Answer(RetentionRuleRecord),
    ("GET", "/api/v1/retention-rules/{name}"): Answer(RetentionRuleRecord),
    ("DELETE", "/api/v1/retention-rules/{name}"): Answer(Nothing),
    ("POST", "/api/v1/retention"): Answer(RetentionOutcome, more=(404, 409)),
    ("POST", "/api/v1/runs/{run_id}/cancel"): Answer(RunWithAddress, more=(CLASH,)),
    ("POST", "/api/v1/runs/{run_id}/complete"): Answer(RunWithAddress, more=(CLASH,)),
    ("POST", "/api/v1/runs/{run_id}/fail"): Answer(RunWithAddress, more=(CLASH,)),
    ("POST", "/api/v1/runs/{run_id}/rerun"): Answer(RunWithAddress, more=(LIMIT,)),
    ("POST", "/api/v1/runs/{run_id}/children"): Answer(RunWithToken, more=(404, LIMIT, FULL)),
    ("GET", "/api/v1/runs/{run_id}/events"): Answer(list[RunEvent]),
    ("GET", "/api/v1/runs/{run_id}/why"): Answer(Why),
    ("GET", "/api/v1/runs/{run_id}/ranks"): Answer(list[RankStatus]),
    ("POST", "/api/v1/runs/{run_id}/stacks"): Answer(StackRequest),
    ("GET", "/api/v1/runs/{run_id}/verify"): Answer(Proof),
    ("POST", "/api/v1/runs/{run_id}/report"): Answer(JobReply),
    ("POST", "/api/v1/runs/{run_id}/heartbeat"): Answer(JobReply),
    ("GET", "/api/v1/runs/{run_id}/follow"): Answer(media=EVENTS),
    ("POST", "/api/v1/runs/{run_id}/attempts/{attempt}/nodes/{node}/begin"): Answer(Begun, more=(CLASH,)),
    ("POST", "/api/v1/runs/{run_id}/attempts/{attempt}/driver/begin"): Answer(Begun, more=(CLASH,)),
    ("POST", "/api/v1/runs/{run_id}/attempts/{attempt}/driver/state"): Answer(GoesOn),
    ("GET", "/api/v1/runs/{run_id}/attempts/{attempt}/nodes/{node}/wanted"): Answer(Wanted),
    ("POST", "/api/v1/runs/{run_id}/attempts/{attempt}/nodes/{node}/end"): Answer(Nothing),
    ("GET", "/api/v1/job-archive/{digest}"): Answer(media=ZIP),
    ("GET", "/api/v1/job-tools/uv"): Answer(media=BYTES),
    ("GET", "/api/v1/job-wheels/{digest}"): Answer(media=BYTES),
    ("GET", "/api/v1/computes"): Answer(list[ComputeRecord]),
    ("POST", "/api/v1/computes"): Answer(ComputeRecord, more=(CLASH,)),
    ("GET", "/api/v1/computes/{name}"): Answer(ComputeRecord),
    ("PATCH", "/api/v1/computes/{name}"): Answer(ComputeRecord),
    ("DELETE", "/api/v1/computes/{name}"): Answer(Nothing),
    ("GET", "/api/v1/computes/{name}/nodes"): Answer(list[ComputeNode]),
    ("GET", "/api/v1/vm_sizes"): Answer(list[VmSizeRecord]),
    ("GET", "/api/v1/environments"): Answer(EnvironmentList),
    ("POST", "/api/v1/environments"): Answer(EnvironmentRecord),
    ("GET", "/api/v1/environments/{name}"): Answer(EnvironmentRecord),
    ("GET", "/api/v1/environments/{name}/versions"): Answer(EnvironmentList),
    ("POST", "/api/v1/environment-builds"): Answer(EnvironmentBuild),
    ("GET", "/api/v1/environment-builds/{build_id}"): Answer(EnvironmentBuild),
    ("GET", "/api/v1/environment-cache"): Answer(CachedList),
    ("GET", "/api/v1/environment-cache/{key}"): Answer(CachedEnvironment),
    ("POST", "/api/v1/environment-cache/prune"): Answer(PrunedEnvironments),
    ("GET", "/api/v1/models"): Answer(ModelPage),
    ("POST", "/api/v1/models"): Answer(ModelRecord, more=(404,)),
    ("GET", "/api/v1/models/{name}"): Answer(ModelRecord),
    ("GET", "/api/v1/models/{name}/{version}"): Answer(ModelRecord),
    ("PATCH", "/api/v1/models/{name}/{version}"): Answer(ModelRecord),
    ("DELETE", "/api/v1/models/{name}/{version}"): Answer(Nothing),
    ("POST", "/api/v1/models/{name}/{version}/pack"): Answer(media=BYTES),
    ("POST", "/api/v1/models/{name}/{version}/handover"): Answer(Lent),
    ("POST", "/api/v1/runs/{run_id}/metrics"): Answer(StreamSize, body=BYTES, more=(CLASH, FULL)),
    ("GET", "/api/v1/runs/{run_id}/metrics"): Answer(Metrics),
    ("GET", "/api/v1/runs/{run_id}/metrics/history"): Answer(History),
    ("GET", "/api/v1/runs/{run_id}/metrics/summaries"): Answer(MetricPage),
    ("GET", "/api/v1/runs/{run_id}/metrics/exhibits"): Answer(Exhibits),
    ("GET", "/api/v1/metrics/curves"): Answer(CurveList, more=(404,)),
    ("POST", "/api/v1/runs/{run_id}/tensorboard"): Answer(Taken),
    ("PUT", "/api/v1/runs/{run_id}/logs/{name}"): Answer(StreamSize, body=BYTES, more=(CLASH, FULL)),
    ("GET", "/api/v1/runs/{run_id}/logs"): Answer(list[LogSize]),
    ("GET", "/api/v1/runs/{run_id}/logs/{name}"): Answer(media=TEXT),
    ("POST", "/api/v1/objects/missing"): Answer(Missing),
    ("POST", "/api/v1/objects"): Answer(Kept, body=BYTES, more=(FULL,)),
    ("POST", "/api/v1/objects/handover"): Answer(Invited),
    ("POST", "/api/v1/snapshots"): Answer(ManifestAnswer),
    ("GET", "/api/v1/snapshots/{snapshot_id}"): Answer(Manifest),
    ("GET", "/api/v1/snapshots/{snapshot_id}/pack"): Answer(media=BYTES),
    ("GET", "/api/v1/runs/{run_id}/files"): Answer(list[FileEntry]),
    ("POST", "/api/v1/runs/{run_id}/files"): Answer(ManifestAnswer),
    ("POST", "/api/v1/runs/{run_id}/files/pack"): Answer(media=BYTES),
    ("POST", "/api/v1/runs/{run_id}/files/handover"): Answer(Lent),
    ("GET", "/api/v1/runs/{run_id}/files/{path}"): Answer(media=BYTES, more=(PARTIAL,)),
    ("GET", "/api/v1/datasets"): Answer(DatasetList),
    ("POST", "/api/v1/datasets"): Answer(DatasetRecord, more=(404,)),
    ("GET", "/api/v1/dataset-ids/{dataset_id}"): Answer(DatasetRecord),
    ("GET", "/api/v1/datasets/{name}"): Answer(DatasetRecord),
    ("DELETE", "/api/v1/datasets/{name}"): Answer(Nothing),
    ("GET", "/api/v1/datasets/{name}/versions"): Answer(DatasetList),
    ("GET", "/api/v1/datasets/{name}/{version}"): Answer(DatasetRecord),
    ("PATCH", "/api/v1/datasets/{name}/{version}"): Answer(DatasetRecord),
    ("GET", "/api/v1/runs/{run_id}/given/{name}"): Answer(list[FileEntry]),
    ("POST", "/api/v1/runs/{run_id}/given/{name}/pack"): Answer(media=BYTES),
    ("POST", "/api/v1/runs/{run_id}/given/{name}/handover"): Answer(Lent),
    ("GET", "/api/v1/datastores"): Answer(list[DatastoreRecord]),
    ("POST", "/api/v1/datastores"): Answer(DatastoreRecord),
    ("GET", "/api/v1/datastores/{name}"): Answer(DatastoreRecord),
    ("PATCH", "/api/v1/datastores/{name}"): Answer(DatastoreRecord),
    ("DELETE", "/api/v1/datastores/{name}"): Answer(Nothing),
    ("POST", "/api/v1/datastores/{name}/plan"): Answer(UploadAnswer),
    ("POST", "/api/v1/datastores/{name}/files"): Answer(Kept, body=BYTES, more=(FULL,)),
    ("POST", "/api/v1/datastores/{name}/files/expect"): Answer(Lent),
    ("GET", "/api/v1/datastores/{name}/files"): Answer(list[FileEntry]),
    ("POST", "/api/v1/datastores/{name}/files/pack"): Answer(media=BYTES),
    ("POST", "/api/v1/datastores/{name}/files/handover"): Answer(Lent),
    ("GET", "/api/3.0/mlflow/server-info"): Answer(mlflow_server.ServerInfo),
    ("POST", "/api/2.0/mlflow/experiments/create"): Answer(mlflow_experiments.CreatedExperiment),
    ("GET", "/api/2.0/mlflow/experiments/get"): Answer(mlflow_experiments.OneExperiment, more=(404,)),
    ("GET", "/api/2.0/mlflow/experiments/get-by-name"): Answer(mlflow_experiments.OneExperiment, more=(404,)),
    ("POST", "/api/2.0/mlflow/experiments/search"): Answer(mlflow_experiments.ExperimentPage),
    ("GET", "/api/2.0/mlflow/experiments/search"): Answer(mlflow_experiments.ExperimentPage),
    ("POST", "/api/2.0/mlflow/experiments/update"): Answer(Nothing, more=(404,)),
    ("POST", "/api/2.0/mlflow/experiments/delete"): Answer(Nothing, more=(404,)),
    ("POST", "/api/2.0/mlflow/experiments/restore"): Answer(Nothing, more=(404,)),
    ("POST", "/api/2.0/mlflow/experiments/set-experiment-tag"): Answer(Nothing, more=(404,)),
    ("POST", "/api/2.0/mlflow/experiments/delete-experiment-tag"): Answer(Nothing, more=(404,)),
    ("POST", "/api/2.0/mlflow/runs/create"): Answer(mlflow_runs.OneRun, more=(404,)),
    ("POST", "/api/2.0/mlflow/runs/update"): Answer(mlflow_runs.OneRunInfo, more=(404, CLASH)),
    ("GET", "/api/2.0/mlflow/runs/get"): Answer(mlflow_runs.OneRun, more=(404,)),
    ("POST", "/api/2.0/mlflow/runs/search"): Answer(mlflow_runs.RunPage, more=(404,)),
    ("POST", "/api/2.0/mlflow/imports/experiments"): Answer(mlflow_imports.ExperimentHere, more=(404,)),
    ("POST", "/api/2.0/mlflow/imports/runs"): Answer(mlflow_imports.RunHere, more=(404,)),
    ("POST", "/api/2.0/mlflow/imports/logged-models"): Answer(mlflow_imports.RunHere, more=(404,)),
    ("POST", "/api/2.0/mlflow/imports/model-versions"): Answer(mlflow_imports.VersionHere, more=(404,)),
    ("POST", "/api/2.0/mlflow/runs/delete"): Answer(Nothing, more=(404,)),
    ("POST", "/api/2.0/mlflow/runs/restore"): Answer(Nothing, more=(404,)),
    ("POST", "/api/2.0/mlflow/runs/set-tag"): Answer(Nothing, more=(404,)),
    ("POST", "/api/2.0/mlflow/runs/delete-tag"): Answer(Nothing, more=(404,)),
    ("POST", "/api/2.0/mlflow/runs/log-model"): Answer(Nothing, more=(404,)),
    ("POST", "/api/2.0/mlflow/runs/log-metric"): Answer(Nothing, more=(404, FULL)),
    ("POST", "/api/2.0/mlflow/runs/log-parameter"): Answer(Nothing, more=(404,)),
    ("POST", "/api/2.0/mlflow/runs/log-batch"): Answer(Nothing, more=(404, FULL)),
    ("POST", "/api/2.0/mlflow/runs/log-inputs"): Answer(Nothing, more=(404,)),
    ("POST", "/api/2.0/mlflow/runs/outputs"): Answer(Nothing, more=(404,)),
    ("GET", "/api/2.0/mlflow/artifacts/list"): Answer(mlflow_artifacts.RunFiles, more=(404,)),
    ("GET", "/api/2.0/mlflow-artifacts/artifacts"): Answer(mlflow_artifacts.Files, more=(404,)),
    ("GET", "/api/2.0/mlflow-artifacts/artifacts/{path}"): Answer(media=BYTES, more=(PARTIAL,)),
    ("PUT", "/api/2.0/mlflow-artifacts/artifacts/{path}"): Answer(Nothing, body=BYTES, more=(FULL,)),
    ("POST", "/api/2.0/mlflow-artifacts/mpu/create/{path}"): Answer(mlflow_parts.Upload, more=(LIMIT,)),
    ("PUT", "/api/2.0/mlflow-artifacts/mpu/parts/{upload_id}/{part_number}"): Answer(Nothing, body=BYTES, more=(FULL,)),
    ("POST", "/api/2.0/mlflow-artifacts/mpu/complete/{path}"): Answer(Nothing, more=(FULL,)),
    ("POST", "/api/2.0/mlflow-artifacts/mpu/abort/{path}"): Answer(Nothing),
    ("POST", "/api/2.0/mlflow/logged-models"): Answer(mlflow_models.OneLoggedModel, more=(404,)),
    ("POST", "/api/2.0/mlflow/logged-models/search"): Answer(mlflow_models.LoggedModelPage, more=(404,)),
    ("GET", "/api/2.0/mlflow/logged-models/{model_id}"): Answer(mlflow_models.OneLoggedModel),
    ("PATCH", "/api/2.0/mlflow/logged-models/{model_id}"): Answer(mlflow_models.OneLoggedModel, more=(CLASH,)),
    ("DELETE", "/api/2.0/mlflow/logged-models/{model_id}"): Answer(Nothing),
    ("PATCH", "/api/2.0/mlflow/logged-models/{model_id}/tags"): Answer(mlflow_models.OneLoggedModel),
    ("DELETE", "/api/2.0/mlflow/logged-models/{model_id}/tags/{tag_key}"): Answer(Nothing),
    ("POST", "/api/2.0/mlflow/logged-models/{model_id}/params"): Answer(Nothing),
    ("GET", "/api/2.0/mlflow/logged-models/{model_id}/artifacts/directories"): Answer(mlflow_models.Directory),
    ("GET", "/api/2.0/mlflow/metrics/get-history"): Answer(mlflow_histories.History, more=(404,)),
    ("GET", "/api/2.0/mlflow/metrics/get-history-bulk-interval"): Answer(mlflow_histories.Histories, more=(404,)),
    ("GET", "/ajax-api/2.0/mlflow/metrics/get-history-bulk"): Answer(mlflow_histories.Histories, more=(404,)),
    ("POST", "/ajax-api/2.0/mlflow/experiments/search-datasets"): Answer(mlflow_inputs.Datasets, more=(404,)),
    ("POST", "/api/2.0/mlflow/registered-models/create"): Answer(mlflow_names.OneName),
    ("GET", "/api/2.0/mlflow/registered-models/get"): Answer(mlflow_names.OneName, more=(404,)),
    ("POST", "/api/2.0/mlflow/registered-models/rename"): Answer(mlflow_names.OneName, more=(404,)),
    ("PATCH", "/api/2.0/mlflow/registered-models/update"): Answer(mlflow_names.OneName, more=(404,)),
    ("DELETE", "/api/2.0/mlflow/registered-models/delete"): Answer(Nothing, more=(404,)),
    ("GET", "/api/2.0/mlflow/registered-models/search"): Answer(mlflow_names.NamePage),
    ("POST", "/api/2.0/mlflow/registered-models/get-latest-versions"): Answer(mlflow_names.Versions, more=(404,)),
    ("GET", "/api/2.0/mlflow/registered-models/get-latest-versions"): Answer(mlflow_names.Versions, more=(404,)),
    ("POST", "/api/2.0/mlflow/registered-models/set-tag"): Answer(Nothing, more=(404,)),
    ("DELETE", "/api/2.0/mlflow/registered-models/delete-tag"): Answer(Nothing, more=(404,)),
    ("POST", "/api/2.0/mlflow/registered-models/alias"): Answer(Nothing, more=(404,)),
    ("DELETE", "/api/2.0/mlflow/registered-models/alias"): Answer(Nothing, more=(404,)),
    ("GET", "/api/2.0/mlflow/registered-models/alias"): Answer(mlflow_versions.OneVersion, more=(404,)),
    ("POST", "/api/2.0/mlflow/model-versions/create"): Answer(mlflow_versions.OneVersion, more=(404,)),
    ("GET", "/api/2.0/mlflow/model-versions/get"): Answer(mlflow_versions.OneVersion, more=(404,)),
    ("PATCH", "/api/2.0/mlflow/model-versions/update"): Answer(mlflow_versions.OneVersion, more=(404,)),
    ("DELETE", "/api/2.0/mlflow/model-versions/delete"): Answer(Nothing, more=(404,)),
    ("POST", "/api/2.0/mlflow/model-versions/transition-stage"): Answer(mlflow_versions.OneVersion, more=(404,)),
    ("GET", "/api/2.0/mlflow/model-versions/get-download-uri"): Answer(mlflow_versions.Uri, more=(404,)),
    ("POST", "/api/2.0/mlflow/model-versions/set-tag"): Answer(Nothing, more=(404,)),
    ("DELETE", "/api/2.0/mlflow/model-versions/delete-tag"): Answer(Nothing, more=(404,)),
    ("GET", "/api/2.0/mlflow/model-versions/search"): Answer(mlflow_versions.VersionPage),
}
