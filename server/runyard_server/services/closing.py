"""The end of a run: its logs become files of its record, its metrics are packed, and what its nodes left is cleared away."""

import logging
import shutil
from collections.abc import Sequence

from runyard.errors import UserErrorException
from runyard.protocol.runs import RunRecord
from runyard_server.domain.supervision import NodeView
from runyard_server.records import deleted_runs, runs, streams
from runyard_server.records.engine import Database
from runyard_server.services.assignments import AssignmentService
from runyard_server.services.datasets import DatasetService
from runyard_server.services.files import FileService
from runyard_server.services.logs import LogService
from runyard_server.services.metrics import MetricService
from runyard_server.services.tensorboard import TensorboardService

log = logging.getLogger(__name__)


class ClosingService:
    """Closes runs. Every step may be done twice: a server may die between any two of them."""

    def __init__(
        self,
        database: Database,
        logs: LogService,
        files: FileService,
        assignments: AssignmentService,
        datasets: DatasetService,
        metrics: MetricService,
        tensorboard: TensorboardService,
    ) -> None:
        self._database = database
        self._logs = logs
        self._files = files
        self._assignments = assignments
        self._datasets = datasets
        self._metrics = metrics
        self._tensorboard = tensorboard

    def note_written(self, run: RunRecord, nodes: Sequence[NodeView]) -> None:
        """Notes what the nodes say they wrote, for the proof that it is what is stored."""
        written: dict[str, int] = {}
        for node in nodes:
            if node.report is not None:
                written.update(node.report.written)
        with self._database.write() as connection:
            streams.set_written(connection, run.id, written)

    def keep_outputs(self, run: RunRecord) -> list[str]:
        """Registers the datasets that a run was to put out; gives what went wrong, as warnings of the run."""
        warnings = []
        for output in run.spec.output_datasets if run.spec is not None else ():
            try:
                self._datasets.keep_output(run, output)
            except UserErrorException as fault:
                warnings.append(f"The output {output.output_name!r} was not registered as a dataset: {fault}")
        return warnings

    def look_at_scalars(self, run: RunRecord) -> None:
        """Takes a part of the numbers that are new in the event files of a run that goes on, where it asks for it."""
        self._tensorboard.look(run)

    def keep_scalars(self, run: RunRecord) -> Sequence[str] | None:
        """Takes a part of the numbers in a run's event files, where it asks for it.

        Gives what went wrong, as warnings of the run; None while something is left to be taken.
        """
        return self._tensorboard.finish(run)

    def keep_logs(self, run: RunRecord) -> None:
        """Makes files of the logs."""
        present = dict(self._files.sizes(run.id))
        for name, size in self._logs.list(run.id):
            # A file below logs/ was uploaded whole by the job; its live copy has served its time. A log of ours
            # that was kept before may have grown since: an earlier try to close the run came to nothing.
            grown = name.startswith("azureml-logs/") and size > present.get(name, 0)
            if name not in present or grown:
                self._files.adopt_file(run.id, name, self._logs.path(run.id, name))

    def forget(self, run: RunRecord) -> None:
        """Packs the run's metrics for good; removes its directories on this machine and the live copies of its logs."""
        self._metrics.settle(run.id)
        with self._database.read() as connection:
            jobs = runs.all_jobs_of(connection, run.id)
        begun = [job for job in jobs if job.started_at is not None or job.report is not None]
        kept = {job.attempt for job in begun if job.report is None or job.report.phase != "done"}
        if not kept:
            shutil.rmtree(self._assignments.run_directory(run.id), ignore_errors=True)
        # else something was not collected: it is all that is left of it
        for attempt in {job.attempt for job in jobs} - kept:
            shutil.rmtree(self._assignments.attempt_directory(run.id, attempt), ignore_errors=True)
        self._logs.remove(run.id)

    def clear(self, run_id: str) -> None:
        """Removes all that lies in folders of a run that is deleted, or whose files are not to be kept."""
        shutil.rmtree(self._assignments.run_directory(run_id), ignore_errors=True)
        self._logs.remove(run_id)

    def sweep(self) -> None:
        """Closes the runs whose server died between their last move and this, and clears away what others left that
        are deleted or whose files are not to be kept."""
        names = {*self._logs.run_ids(), *self._assignments.run_ids()}
        for name in sorted(names):
            try:
                self._sweep(name)
            except Exception:  # of one run, which the next start looks at again
                log.exception("What %s has left could not be cleared away", name)

    def _sweep(self, name: str) -> None:
        with self._database.read() as connection:
            run = runs.find(connection, name)
            gone = run is None and deleted_runs.find(connection, name) is not None
        if gone or (run is not None and run.files_removed_at is not None):
            self.clear(name)
        elif run is not None and run.status.is_terminal:
            self.keep_logs(run)
            self.forget(run)
