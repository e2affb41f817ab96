"""The end of a run: its logs become files of its record, and what its nodes left is cleared away."""

import shutil
from collections.abc import Sequence

from runyard.protocol.runs import RunRecord
from runyard_server.domain.supervision import NodeView
from runyard_server.records import streams
from runyard_server.records.engine import Database
from runyard_server.services.assignments import AssignmentService
from runyard_server.services.files import FileService
from runyard_server.services.logs import LogService


class ClosingService:
    """Closes runs. Every step may be done twice: a server may die between any two of them."""

    def __init__(
        self, database: Database, logs: LogService, files: FileService, assignments: AssignmentService
    ) -> None:
        self._database = database
        self._logs = logs
        self._files = files
        self._assignments = assignments

    def note_written(self, run: RunRecord, nodes: Sequence[NodeView]) -> None:
        """Notes what the nodes say they wrote, for the proof that it is what is stored."""
        written: dict[str, int] = {}
        for node in nodes:
            if node.report is not None:
                written.update(node.report.written)
        with self._database.write() as connection:
            streams.set_written(connection, run.id, written)

    def keep_logs(self, run: RunRecord) -> None:
        """Makes files of the logs."""
        present = {entry.path for entry in self._files.list(run.id)}
        for name, _ in self._logs.list(run.id):
            # A file below logs/ was uploaded whole by the job; its live copy has served its time.
            if name not in present:
                self._files.adopt_file(run.id, name, self._logs.path(run.id, name))

    def forget(self, run: RunRecord) -> None:
        """Removes the run's directories on this machine and the live copies of its logs."""
        shutil.rmtree(self._assignments.run_directory(run.id), ignore_errors=True)
        self._logs.remove(run.id)
