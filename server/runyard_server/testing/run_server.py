"""A server with nothing but what moves runs: services, records and lifecycle over an engine in memory.

No socket, no thread and no process of its own: a test says when the lifecycle looks, and what the jobs say.
"""

import sys
import threading
from pathlib import Path

from runyard.protocol.environments import EnvironmentSpec
from runyard.protocol.files import Manifest
from runyard.protocol.runs import RunSpec
from runyard_server.app import Places
from runyard_server.artifacts.store import FolderStore
from runyard_server.domain.clock import Clock
from runyard_server.environments.provision import Environments
from runyard_server.lifecycle.loop import Lifecycle
from runyard_server.lifecycle.ports import Ports
from runyard_server.records.engine import Database
from runyard_server.services.admission import AdmissionService
from runyard_server.services.assignments import AssignmentService
from runyard_server.services.closing import ClosingService
from runyard_server.services.computes import ComputeService
from runyard_server.services.datasets import DatasetService
from runyard_server.services.datastores import DatastoreService
from runyard_server.services.environments import EnvironmentService
from runyard_server.services.fence import Fence
from runyard_server.services.files import FileService
from runyard_server.services.hub import Hub
from runyard_server.services.logs import LogService
from runyard_server.services.metrics import MetricService
from runyard_server.services.queue import QueueService
from runyard_server.services.runs import RunService
from runyard_server.services.snapshots import SnapshotService
from runyard_server.services.tensorboard import TensorboardService
from runyard_server.services.tokens import TokenService
from runyard_server.services.verification import VerificationService
from runyard_server.testing.fake_executor import FakeEngine

# The interpreter of the tests as a user-managed environment: nothing is resolved or built.
THIS_PYTHON = EnvironmentSpec(user_managed=True, interpreter=sys.executable)


class RunServer:
    """One server process's objects over a ``home``; several may follow each other there, as after a crash.

    Args:
        database: with tables.
        cpus: nodes of the target ``local``.
        environments: what resolves and builds; by default the real ones.
    Attributes:
        woken: set when a thread of the server's wants the lifecycle to look.
    """

    def __init__(
        self,
        home: Path,
        engine: FakeEngine,
        clock: Clock,
        database: Database,
        cpus: int = 4,
        environments: Environments | None = None,
    ) -> None:
        self.woken = threading.Event()
        self.home, self.engine, self.clock, self.database = home, engine, clock, database
        executors = {engine.name: engine.executor()}
        self.hub = Hub()
        self.tokens = TokenService("token", b"a signing key of the tests", clock)
        self._store = FolderStore(home / "objects")
        self.files = FileService(database, clock, self._store)
        self.logs = LogService(home / "logs", database, self.hub)
        self.computes = ComputeService(database, clock, executors, self._gpu_count, cpus)
        self.snapshots = SnapshotService(database, clock, self._store)
        self.datastores = DatastoreService(database, clock, home / "datastores", ())
        self.datasets = DatasetService(database, clock, self.datastores.get)
        self.environments = EnvironmentService(database, clock, environments or Environments(home / "environments"))
        places = Places(self.computes, self.snapshots, self.environments, self.datastores, self.files)
        admission = AdmissionService(places, executors, self._gpu_count)
        self.runs = RunService(database, clock, self.hub, admission.check, lambda run_id, run: None, self._settle)
        self.metrics = MetricService(database, self.hub, self.runs.apply_spooled)
        self.verification = VerificationService(database, self.logs, self.files)
        self.queue = QueueService(database, executors, self.computes.room)
        self.assignments = AssignmentService(
            runs_folder=home / "runs",
            workspace="tests",
            address=lambda: "http://127.0.0.1:1",
            server_file=None,
            sdk_path=home / "sdk",
            tokens=self.tokens,
            interpreter=self.environments.interpreter,
            local_path=places.local_path,
            has_outputs=self.files.has_outputs,
            lock=self.environments.lock_by_key,
            archive=lambda: "0" * 64,
        )
        self.tensorboard = TensorboardService(database, clock, self.logs, self.files, self.metrics)
        self.closing = ClosingService(
            database, self.logs, self.files, self.assignments, self.datasets, self.metrics, self.tensorboard
        )
        self.fence = Fence(database)
        self.lifecycle = Lifecycle(
            Ports(
                database=database,
                clock=clock,
                hub=self.hub,
                executors=executors,
                queue=self.queue,
                environments=self.environments,
                assignments=self.assignments,
                fence=self.fence,
                closing=self.closing,
                compute=self.computes.asked,
                check=admission.check,
                log=self._log,
                wake=self.woken.set,
            )
        )

    def spec(self, **changes: object) -> RunSpec:
        """A run of one command on ``local``, with its code (an empty folder) stored."""
        snapshot = self.snapshots.create(Manifest(files=[])).id
        assert snapshot is not None
        given = {"experiment": "tests", "command": ["true"], "environment": THIS_PYTHON, **changes}
        return RunSpec(snapshot=snapshot, **given)  # type: ignore[arg-type]

    def close(self) -> None:
        """Lets go of what it holds."""
        self.datastores.close()
        self._store.close()
        self.database.close()

    def _settle(self, run_id: str) -> None:
        self.metrics.settle(run_id)

    def _gpu_count(self) -> int:
        return len(self.engine.gpus)

    def _log(self, run_id: str, name: str, text: str) -> None:
        self.logs.append(run_id, name, self.logs.size(run_id, name), text.encode())
