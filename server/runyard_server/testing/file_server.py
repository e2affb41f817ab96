"""An application with nothing but the routes of bytes: for tests of transfers that need no runs being supervised."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fastapi import FastAPI, Request

from runyard.protocol.runs import RunRecord
from runyard.protocol.status import RunStatus
from runyard.protocol.version import API_PREFIX
from runyard_server.api import datasets, datastores, errors, files, objects, snapshots
from runyard_server.artifacts.store import FolderStore
from runyard_server.domain.clock import Clock, SystemClock
from runyard_server.records import experiments as experiment_records
from runyard_server.records import runs as run_records
from runyard_server.records.engine import Database
from runyard_server.services.datasets import DatasetService
from runyard_server.services.datastores import DatastoreService
from runyard_server.services.files import FileService
from runyard_server.services.objects import ObjectService
from runyard_server.services.snapshots import SnapshotService
from runyard_server.services.tokens import Identity
from runyard_server.testing.empty_tables import open_empty


class FileServer:
    """Services of bytes over a folder ``home``, and the application ``app`` that offers them without any token.

    Args:
        database: default: a new SQLite file in ``home``.
        allowed_roots: folders below which datastores may be attached.
    """

    def __init__(
        self,
        home: Path,
        database: Database | None = None,
        clock: Clock | None = None,
        allowed_roots: tuple[Path, ...] = (),
    ) -> None:
        clock = clock or SystemClock()
        if database is None:
            database = open_empty(home / "records.db")
        self.database = database
        self.store = FolderStore(home / "objects")
        self.objects = ObjectService(self.store)
        self.snapshots = SnapshotService(database, clock, self.store)
        self.files = FileService(database, clock, self.store)
        self.datastores = DatastoreService(database, clock, home / "datastores", allowed_roots)
        self.datastores.ensure_defaults()
        self.datasets = DatasetService(database, clock, self.datastores.get)
        self.app = FastAPI()
        self.app.state.services = SimpleNamespace(
            objects=self.objects,
            snapshots=self.snapshots,
            files=self.files,
            datastores=self.datastores,
            datasets=self.datasets,
        )
        for module in (objects, snapshots, files, datasets, datastores):
            self.app.router.routes.extend(module.router.below(API_PREFIX))
        errors.install(self.app)

        @self.app.middleware("http")
        async def identify(request: Request, call_next: Any) -> Any:
            request.state.identity = Identity("member")
            return await call_next(request)

    def add_run(self, run_id: str, now: float = 1_566_000_000.0) -> None:
        """A finished run of that id, for its files."""
        with self.database.write() as connection:
            experiment = experiment_records.get_or_create(connection, "files", now)
            number = experiment_records.next_number(connection, experiment.id)
            record = RunRecord(
                id=run_id,
                number=number,
                experiment="files",
                type="test",
                status=RunStatus.COMPLETED,
                created_at=now,
                version=1,
            )
            run_records.add(connection, record, experiment.id)

    def close(self) -> None:
        """Lets go of what it holds."""
        self.datastores.close()
        self.objects.close()
        self.store.close()
        self.database.close()
