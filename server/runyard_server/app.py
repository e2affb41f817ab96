"""The composition root: the only file that knows every adapter."""

import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

import runyard
from runyard.protocol.compute import ComputeRecord
from runyard.protocol.environments import EnvironmentSpec
from runyard.protocol.files import Manifest
from runyard.protocol.runs import DataReferenceSpec, RunRecord
from runyard.protocol.version import API_PREFIX, VERSION
from runyard_server import ui
from runyard_server.api import (
    auth,
    cleaning,
    coalescing,
    computes,
    datasets,
    datastores,
    document,
    environments,
    errors,
    experiments,
    files,
    follow,
    found_route,
    lanes,
    logs,
    metrics,
    models,
    nodes,
    objects,
    retention,
    run_table,
    runs,
    short_way,
    snapshots,
    tensorboard,
    workspace,
)
from runyard_server.api.bodies import JsonRoute
from runyard_server.api.mlflow import artifacts as mlflow_artifacts
from runyard_server.api.mlflow import experiments as mlflow_experiments
from runyard_server.api.mlflow import imports as mlflow_imports
from runyard_server.api.mlflow import inputs as mlflow_inputs
from runyard_server.api.mlflow import logged_models as mlflow_logged_models
from runyard_server.api.mlflow import metric_histories as mlflow_metric_histories
from runyard_server.api.mlflow import metrics as mlflow_metrics
from runyard_server.api.mlflow import model_names as mlflow_model_names
from runyard_server.api.mlflow import model_versions as mlflow_model_versions
from runyard_server.api.mlflow import parts as mlflow_parts
from runyard_server.api.mlflow import run_search as mlflow_run_search
from runyard_server.api.mlflow import runs as mlflow_runs
from runyard_server.api.mlflow import server as mlflow_server
from runyard_server.artifacts.store import FolderStore
from runyard_server.domain.clock import Clock, SystemClock
from runyard_server.environments.provision import Environments
from runyard_server.executors.base import Executor
from runyard_server.executors.local import usable_cpus
from runyard_server.executors.registry import create_executor
from runyard_server.lifecycle.loop import Lifecycle
from runyard_server.lifecycle.ports import Ports
from runyard_server.records import made_by
from runyard_server.records.engine import Database
from runyard_server.records.migrate import SHIPPED, Migrations, upgrade
from runyard_server.routes import DeclaredRoute
from runyard_server.services.admission import AdmissionService
from runyard_server.services.assignments import AssignmentService
from runyard_server.services.cleaning import CleaningService
from runyard_server.services.closing import ClosingService
from runyard_server.services.computes import ComputeService
from runyard_server.services.container import Services
from runyard_server.services.curves import CurveService
from runyard_server.services.daily import Daily
from runyard_server.services.datasets import DatasetService
from runyard_server.services.datastores import DatastoreService
from runyard_server.services.deletion import DeletionService
from runyard_server.services.environment_builds import EnvironmentBuildService
from runyard_server.services.environments import EnvironmentService
from runyard_server.services.exhibits import ExhibitService
from runyard_server.services.experiments import ExperimentService
from runyard_server.services.fence import Fence
from runyard_server.services.files import FileService
from runyard_server.services.given_files import GivenFiles
from runyard_server.services.given_runs import GivenRuns
from runyard_server.services.hub import Hub
from runyard_server.services.job_archive import JobArchive
from runyard_server.services.logs import LogService
from runyard_server.services.metrics import MetricService
from runyard_server.services.model_names import ModelNameService
from runyard_server.services.models import ModelService
from runyard_server.services.named_tokens import NamedTokens
from runyard_server.services.nodes import NodeService
from runyard_server.services.objects import ObjectService
from runyard_server.services.pace import Pace
from runyard_server.services.pages import PageService
from runyard_server.services.planning import PlanningService
from runyard_server.services.queue import QueueService
from runyard_server.services.ranks import RankService
from runyard_server.services.reading import ReadingService
from runyard_server.services.retention import RetentionService
from runyard_server.services.run_table import RunTableService
from runyard_server.services.runs import RunService
from runyard_server.services.snapshots import SnapshotService
from runyard_server.services.tensorboard import TensorboardService
from runyard_server.services.tokens import TokenService
from runyard_server.services.uploads import UploadService
from runyard_server.services.verification import VerificationService
from runyard_server.services.workspace import WorkspaceService
from runyard_server.settings import Secrets, Settings

# They are tried in this order: what jobs ask all the time comes first.
ROUTERS = [
    logs.router,
    metrics.router,
    document.router,
    workspace.router,
    experiments.router,
    runs.router,
    run_table.router,
    follow.router,
    computes.router,
    datasets.router,
    datastores.router,
    environments.router,
    files.router,
    tensorboard.router,
    models.router,
    nodes.router,
    objects.router,
    snapshots.router,
    cleaning.router,
    retention.router,
]
# Those of MLflow's API, with MLflow's addresses.
MLFLOW_ROUTERS = [
    mlflow_server.router,
    mlflow_experiments.router,
    mlflow_runs.router,
    mlflow_run_search.router,
    mlflow_metrics.router,
    mlflow_metric_histories.router,
    mlflow_metric_histories.of_pages,
    mlflow_inputs.router,
    mlflow_inputs.of_pages,
    mlflow_artifacts.router,
    mlflow_parts.router,
    mlflow_logged_models.router,
    mlflow_model_names.router,
    mlflow_model_versions.router,
    mlflow_imports.router,
]


# Whatever the environment of this process says: the framework's own spans, metrics and exporters stay off.
NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
# Of a body that is read as JSON: enough for the lists of 200,000 files, the most that are taken at once.
MOST_JSON_BYTES = 96 << 20


@dataclass
class Server:
    """A built server: its application, its services and its lifecycle."""

    app: FastAPI
    services: Services
    lifecycle: Lifecycle
    database: Database
    executors: dict[str, Executor]
    store: FolderStore
    daily: Daily

    def start(self) -> None:
        """Begins to move runs on."""
        self.lifecycle.start()
        self.daily.start()
        for executor in self.executors.values():
            executor.prepare()

    def close(self) -> None:
        """Ends everything that this process holds; jobs go on."""
        self.daily.stop()
        self.lifecycle.stop()
        for executor in self.executors.values():
            executor.close()
        self.services.datastores.close()
        self.services.objects.close()
        self.store.close()
        self.database.close()


def build(
    settings: Settings,
    secrets: Secrets,
    address: Callable[[], str],
    clock: Clock | None = None,
    migrations: Migrations = SHIPPED,
) -> Server:
    """Puts a server together.

    Args:
        address: the URL at which it is reached, known once it listens.
        migrations: to the tables that the records are to have.
    Raises:
        ServiceException: the records were written by a newer server, or could not be migrated.
    """
    clock = clock or SystemClock()
    home = settings.home
    database = Database(settings.database_url)
    try:
        upgrade(database, migrations)
    except BaseException:
        database.close()
        raise
    made_by.note(home, migrations)
    hub = Hub()
    sdk_path = node_sdk(home.parent.parent if settings.embedded else home)
    executors = {
        "local": create_executor("local", sdk_path=str(sdk_path), standby_count=2),
        "slurm": create_executor("slurm"),
        "ray": create_executor("ray", tokens=home / "ray-tokens.json"),
    }
    woken: list[Callable[[str | None, RunRecord | None], None]] = []

    def wake(run_id: str | None = None, run: RunRecord | None = None) -> None:
        for tell in woken:
            tell(run_id, run)

    def gpu_count() -> int:
        return len(executors["local"].inventory().gpus)

    fence = Fence(database)
    tokens = TokenService(secrets.token, secrets.signing_key, clock, NamedTokens(home / "tokens.json"), fence.knows)
    store = FolderStore(home / "objects")
    file_service = FileService(database, clock, store)
    log_service = LogService(home / "logs", database, hub)
    compute_service = ComputeService(
        database,
        clock,
        executors,
        gpu_count,
        usable_cpus(),
        default_executor=settings.default_executor,
        changed=wake,
        check=lambda name, spec: executors[name].check(spec),
        count=lambda name, spec: executors[name].count_nodes(spec),
        out_of_reach=settings.out_of_reach,
    )
    snapshot_service = SnapshotService(database, clock, store)
    datastore_service = DatastoreService(database, clock, home / "datastores", settings.datastore_roots)
    datastore_service.ensure_defaults()
    dataset_service = DatasetService(database, clock, datastore_service.get)
    environments_here = Environments(
        settings.environments,
        None,
        settings.python_directories,
        settings.wheels,
        settings.conda,
        settings.pytorch_cpu,
        settings.containers,
    )
    environment_service = EnvironmentService(database, clock, environments_here)
    places = Places(compute_service, snapshot_service, environment_service, datastore_service, file_service)
    admission = AdmissionService(places, executors, gpu_count)
    run_service = RunService(database, clock, hub, admission.check, wake, lambda run_id: metric_service.settle(run_id))
    metric_service = MetricService(database, hub, run_service.apply_spooled)
    queue = QueueService(database, executors, compute_service.room)
    archive = JobArchive(sdk_path, lambda: environments_here.uv, environments_here.wheel)
    assignments = AssignmentService(
        runs_folder=home / "runs",
        workspace=settings.workspace,
        address=address,
        server_file=settings.server_file,
        sdk_path=sdk_path,
        tokens=tokens,
        interpreter=environment_service.interpreter,
        local_path=places.local_path,
        has_outputs=file_service.has_outputs,
        public_address=settings.public_url,
        lock=environment_service.lock_by_key,
        archive=lambda: archive.digest,
        wheels=environments_here.wheels_of,
    )
    tensorboard_service = TensorboardService(database, clock, log_service, file_service, metric_service)
    closing = ClosingService(
        database, log_service, file_service, assignments, dataset_service, metric_service, tensorboard_service
    )
    cleaning_service = CleaningService(database, clock, store, snapshot_service.forget)
    given_runs = GivenRuns()
    deletion = DeletionService(database, clock, hub, given_runs, closing.clear)
    services = Services(
        instance=uuid.uuid4().hex,
        hub=hub,
        tokens=tokens,
        uploads=UploadService(store, clock),
        fence=fence,
        pages=PageService(address, tokens, settings.public_url),
        planning=PlanningService(executors, compute_service.asked, assignments),
        workspace=WorkspaceService(database, clock, settings.workspace),
        experiments=ExperimentService(database, clock),
        runs=run_service,
        run_table=RunTableService(database, clock),
        queue=queue,
        ranks=RankService(database, clock, log_service),
        admission=admission,
        verification=VerificationService(database, log_service, file_service),
        cleaning=cleaning_service,
        computes=compute_service,
        datasets=dataset_service,
        datastores=datastore_service,
        deletion=deletion,
        environments=environment_service,
        environment_builds=EnvironmentBuildService(environment_service),
        exhibits=ExhibitService(metric_service, file_service),
        files=file_service,
        given_files=GivenFiles(run_service, file_service),
        logs=log_service,
        metrics=metric_service,
        curves=CurveService(database),
        models=ModelService(database, clock, store, file_service),
        model_names=ModelNameService(database, clock),
        nodes=NodeService(assignments, tokens, archive),
        objects=ObjectService(store),
        pace=Pace(hub),
        reading=ReadingService(log_service, file_service),
        retention=RetentionService(database, clock, hub, deletion, given_runs, closing.clear),
        snapshots=snapshot_service,
        tensorboard=tensorboard_service,
    )

    def append_log(run_id: str, name: str, text: str) -> None:
        log_service.append(run_id, name, log_service.size(run_id, name), text.encode("utf-8", "replace"))

    lifecycle = Lifecycle(
        Ports(
            database=database,
            clock=clock,
            hub=hub,
            executors=executors,
            queue=queue,
            environments=environment_service,
            assignments=assignments,
            fence=fence,
            closing=closing,
            compute=compute_service.asked,
            check=admission.check,
            log=append_log,
            wake=wake,
        )
    )
    woken.append(lifecycle.wake)
    app = application(services, settings.hosts)
    daily = Daily(services.retention, cleaning_service, services.uploads)
    return Server(app, services, lifecycle, database, executors, store, daily)


def application(services: Services, hosts: list[str]) -> FastAPI:
    """The routes with their guard.

    Raises:
        RuntimeError: a route without a row in the role table; such a server does not start.
    """
    app = FastAPI(
        title="runyard",
        version=VERSION,
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        openapi_url=None,  # api/document.py has the whole one, behind a token
        telemetry=NO_TELEMETRY,
        max_body_size=None,  # files come in bodies of any size; JSON ones are limited below
    )
    app.state.services = services
    app.router.routes.extend(_api_routes())
    ui.install(app)
    errors.install(app)
    missing = auth.undeclared(app.router.routes)
    if missing:
        raise RuntimeError(f"Routes without a row in api/roles.py: {', '.join(missing)}")
    found_route.install(app)
    app.add_middleware(short_way.ShortWay)
    app.add_middleware(lanes.Lanes, page=ui.refused)  # inside the guard: who may not come in waits in no line
    app.add_middleware(coalescing.Coalescing)
    app.add_middleware(
        auth.Guard,
        tokens=services.tokens,
        fence=services.fence,
        hosts=hosts,
        routes=app.router.routes,
        page=ui.refused,
    )
    return app


@cache
def _api_routes() -> list[DeclaredRoute]:
    """Those of the API. They hold nothing of a server, so that all servers of a process, as its tests start, share them.

    They stand one by one: a router that is included whole keeps its routes from the guard's sight.
    """
    return [
        route
        for prefix, routers in ((API_PREFIX, ROUTERS), ("", MLFLOW_ROUTERS))
        for router in routers
        for route in router.below(prefix, JsonRoute, MOST_JSON_BYTES)
    ]


class Places:
    """Answers, for admission and assignments, what the workspace has."""

    def __init__(
        self,
        computes: ComputeService,
        snapshots: SnapshotService,
        environments: EnvironmentService,
        datastores: DatastoreService,
        files: FileService,
    ) -> None:
        self._files = files
        self._computes = computes
        self._snapshots = snapshots
        self._environments = environments
        self._datastores = datastores

    def compute(self, name: str) -> ComputeRecord:
        return self._computes.asked(name)

    def snapshot(self, snapshot_id: str) -> Manifest:
        return self._snapshots.hold(snapshot_id)

    def environment(self, spec: EnvironmentSpec) -> EnvironmentSpec:
        return self._environments.with_default_image(spec)

    def check_environment(self, spec: EnvironmentSpec, elsewhere: bool) -> None:
        self._environments.check(spec, elsewhere)

    def check_datastore(self, name: str) -> None:
        self._datastores.get(name)

    def check_run(self, run_id: str) -> None:
        self._files.list(run_id)

    def holds(self, reference: DataReferenceSpec) -> bool:
        """Whether there is anything at that place of a datastore."""
        path = self.local_path(reference)
        return path is not None and (path.is_file() or (path.is_dir() and any(path.iterdir())))

    def local_path(self, reference: DataReferenceSpec) -> Path | None:
        if reference.run is not None:
            return None
        return self._datastores.local_path(reference.datastore, reference.path)


def node_sdk(root: Path) -> Path:
    """A folder that holds the package ``runyard`` (and ``azureml``) and nothing else, for scripts to import.

    It is named by content, so that runs of an older version keep theirs while a newer one starts.
    """
    import hashlib

    packages = [Path(runyard.__file__).parent]
    try:
        import azureml

        if getattr(azureml, "__file__", None):
            packages.append(Path(azureml.__file__).parent)
    except ImportError:
        pass  # scripts then import runyard alone
    sources = sorted((path, package) for package in packages for path in package.rglob("*.py"))
    digest = hashlib.sha256()
    for path, package in sources:
        digest.update(str(path.relative_to(package.parent)).encode() + b"\0" + path.read_bytes())
    folder = root / "sdk" / digest.hexdigest()[:16]
    if not folder.exists():
        unfinished = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}")
        for path, package in sources:
            target = unfinished / path.relative_to(package.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        try:
            unfinished.rename(folder)
        except OSError:  # another server was quicker
            shutil.rmtree(unfinished)
    return folder
