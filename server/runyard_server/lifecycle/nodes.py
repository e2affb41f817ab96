"""The nodes of runs that are past the queue: looked at together, ended, and salvaged."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from runyard.errors import RunyardError
from runyard.job.processes import machine_name, start_ticks
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.runs import ClientProcess, RunRecord
from runyard_server.domain.supervision import HEARTBEAT_LIMIT_S, MAX_SALVAGES, NodeView
from runyard_server.executors.base import JobHandle, JobObservation, JobRequest
from runyard_server.lifecycle.ports import Ports
from runyard_server.records import runs as records
from runyard_server.records.runs import JobRow

CLIENT_SILENCE_S = 120.0
SALVAGE_LOG = "azureml-logs/75_job_post-salvage.txt"


class Nodes:
    """Sees many runs' nodes with one look at each engine."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._began_at = ports.clock.now()
        # Run id -> a client's last sign of life, and when we first saw that one. Measured by our own patience: while
        # this server was away, or this machine slept, nobody could be heard.
        self._heard: dict[str, tuple[float | None, float]] = {}

    def look(self, runs: Sequence[RunRecord]) -> Mapping[str, list[NodeView]]:
        """Each run's nodes by run id; an empty list for a run without any."""
        if not runs:
            return {}
        with self._ports.database.read() as connection:
            rows = {run.id: records.jobs_of(connection, run.id, run.attempt) for run in runs}
        handles = [handle for jobs in rows.values() for row in jobs if (handle := _handle(row)) is not None]
        seen: dict[JobHandle, JobObservation] = {}
        for name, executor in self._ports.executors.items():
            mine = [handle for handle in handles if handle.executor == name]
            if mine:
                seen.update(executor.observe(mine))
        views = {run_id: [self._view(row, seen) for row in jobs] for run_id, jobs in rows.items()}
        if any(view.is_over for found in views.values() for view in found):
            self._refresh_reports(rows, views)
        return views

    def _view(self, row: JobRow, seen: Mapping[JobHandle, JobObservation]) -> NodeView:
        heard = row.reported_at if row.reported_at is not None else row.started_at
        if heard is not None:
            heard = max(heard, self._began_at)  # while no server was here, nobody could be heard
        handle = _handle(row)
        over, cause = False, ""
        if handle is not None:
            observation = seen.get(handle)
            if observation is not None and observation.state.is_over:
                over = True
                cause = observation.message or (observation.signal or f"exit code {observation.exit_code}")
        elif row.handle is not None and "client" in row.handle:
            over, cause = self._client_is_gone(row)
        elif heard is None or self._ports.clock.now() - heard > HEARTBEAT_LIMIT_S:
            # An earlier server died while it started this job, and the run was cancelled before it was started again.
            over, cause = True, "the server ended while it started the job"
        return NodeView(row.node, row.report, heard, over, cause, _salvages(row))

    def cancel(self, run: RunRecord, firmly: bool) -> None:
        """Asks every job of the run to end, or ends it."""
        by_executor: dict[str, list[JobHandle]] = {}
        with self._ports.database.read() as connection:
            for row in records.jobs_of(connection, run.id, run.attempt):
                handle = _handle(row)
                if handle is not None:
                    by_executor.setdefault(handle.executor, []).append(handle)
        for name, handles in by_executor.items():
            self._ports.executors[name].cancel(handles, firmly)

    def salvage(self, run: RunRecord, node: int) -> None:
        """Starts another job on a lost one's directory: it ends leftovers, then collects and ships."""
        ports = self._ports
        with ports.database.read() as connection:
            rows = records.jobs_of(connection, run.id, run.attempt)
        known = dict(rows[node].handle or {})
        count = _salvages(rows[node]) + 1
        try:
            lost = _handle(rows[node])
            executor = ports.executors[lost.executor if lost else ports.queue.executor_of(run)]
            assignment = ports.assignments.build(run, [row.gpus for row in rows])[node]
            request = JobRequest(run.id, run.attempt, [replace(assignment, salvage=True)])
            (handle,) = executor.start(executor.plan(request))
        except (RunyardError, OSError) as fault:
            ports.log(run.id, SALVAGE_LOG, f"The leftovers could not be collected: {fault}\n")
            count = MAX_SALVAGES
        else:
            known["job"] = to_json(handle)
        with ports.database.write() as connection:
            records.set_handle(connection, run.id, run.attempt, node, {**known, "salvages": count})

    def _client_is_gone(self, row: JobRow) -> tuple[bool, str]:
        assert row.handle is not None
        if row.handle["client"] is not None:
            client = from_json(ClientProcess, row.handle["client"])
            if client.machine == machine_name():
                gone = start_ticks(client.pid) != client.start_ticks
                return gone, f"its process {client.pid} has ended" if gone else ""
        with self._ports.database.read() as connection:
            beat = records.heartbeat_of(connection, row.run_id)
        now = self._ports.clock.monotonic()
        before, since = self._heard.get(row.run_id, (beat, now))
        self._heard[row.run_id] = (beat, since if beat == before else now)
        silent = beat == before and now - since > CLIENT_SILENCE_S
        return silent, f"it has not been heard of for {CLIENT_SILENCE_S:.0f} s" if silent else ""

    def _refresh_reports(self, rows: Mapping[str, Sequence[JobRow]], views: dict[str, list[NodeView]]) -> None:
        """A job may report and end between our reading its row and our looking at its process."""
        with self._ports.database.read() as connection:
            for run_id, jobs in rows.items():
                for position, row in enumerate(jobs):
                    if views[run_id][position].is_over:
                        newest = records.job(connection, run_id, row.attempt, row.node)
                        if newest is not None:
                            views[run_id][position] = replace(views[run_id][position], report=newest.report)


def _handle(row: JobRow) -> JobHandle | None:
    if row.handle is None or "job" not in row.handle:
        return None
    return from_json(JobHandle, row.handle["job"])


def _salvages(row: JobRow) -> int:
    return int((row.handle or {}).get("salvages", 0))
