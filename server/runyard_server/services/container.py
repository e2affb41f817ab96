"""The services that the application is built with."""

from dataclasses import dataclass

from runyard_server.services.admission import AdmissionService
from runyard_server.services.cleaning import CleaningService
from runyard_server.services.computes import ComputeService
from runyard_server.services.curves import CurveService
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
from runyard_server.services.hub import Hub
from runyard_server.services.logs import LogService
from runyard_server.services.metrics import MetricService
from runyard_server.services.model_names import ModelNameService
from runyard_server.services.models import ModelService
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


@dataclass(frozen=True)
class Services:
    """One of each. ``instance`` names this server process."""

    instance: str
    hub: Hub
    tokens: TokenService
    uploads: UploadService
    fence: Fence
    pages: PageService
    planning: PlanningService
    workspace: WorkspaceService
    experiments: ExperimentService
    runs: RunService
    run_table: RunTableService
    queue: QueueService
    ranks: RankService
    admission: AdmissionService
    verification: VerificationService
    cleaning: CleaningService
    computes: ComputeService
    curves: CurveService
    datasets: DatasetService
    datastores: DatastoreService
    deletion: DeletionService
    environments: EnvironmentService
    environment_builds: EnvironmentBuildService
    exhibits: ExhibitService
    files: FileService
    given_files: GivenFiles
    logs: LogService
    metrics: MetricService
    models: ModelService
    model_names: ModelNameService
    nodes: NodeService
    objects: ObjectService
    pace: Pace
    reading: ReadingService
    retention: RetentionService
    snapshots: SnapshotService
    tensorboard: TensorboardService
