"""The nodes of runs that are past the queue: looked at together, ended, and salvaged."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from runyard.errors import RunyardError
from runyard.job.processes import machine_name, start_ticks
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.runs import ClientProcess, RunRecord
from runyard_server.domain.supervision import NodeView
from runyard_server.executors.base import Executor, JobHandle, JobRequest
from runyard_server.lifecycle.ports import Ports
from runyard_server.records import runs as records
from runyard_server.records.runs import JobRow

CLIENT_SILENCE_S = 120.0


class Nodes:
    """Sees many runs' nodes with one look at each engine."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def look(self, runs: Sequence[RunRecord]) -> Mapping[str, list[NodeView]]:
        """Each run's nodes by run id; an empty list for a run without any."""
        with self._ports.database.read() as connection:
            rows = {run.id: records.jobs_of(connection, run.id, run.attempt) for run in runs}
        handles = [handle for jobs in rows.values() for row in jobs if (handle := _handle(row)) is not None]
        seen = {}
        for name, executor in self._ports.executors.items():
            mine = [handle for handle in handles if handle.executor == name]
            if mine:
                seen.update(executor.observe(mine))
        views: dict[str, list[NodeView]] = {}
        for run_id, jobs in rows.items():
            views[run_id] = []
            for row in jobs:
                handle = _handle(row)
                observation = seen.get(handle) if handle is not None else None
                over, cause = False, ""
                if observation is not None and observation.state.is_over:
                    over = True
                    cause = observation.message or (observation.signal or f"exit code {observation.exit_code}")
                elif handle is None and row.handle is not None and "client" in row.handle:
                    over, cause = self._client_is_gone(row)
                heard = row.reported_at if row.reported_at is not None else row.started_at
                salvaged = bool(row.handle and row.handle.get("salvage"))
                views[run_id].append(NodeView(row.node, row.report, heard, over, cause, salvaged))
        if any(view.is_over for found in views.values() for view in found):
            self._refresh_reports(rows, views)
        return views

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
        """Starts a second job on a lost one's directory: it ends leftovers, then collects and ships."""
        ports = self._ports
        with ports.database.read() as connection:
            rows = records.jobs_of(connection, run.id, run.attempt)
        handle = _handle(rows[node])
        assert handle is not None and rows[node].handle is not None
        executor: Executor = ports.executors[handle.executor]
        assignment = ports.assignments.build(run, [row.gpus for row in rows])[node]
        try:
            request = JobRequest(run.id, run.attempt, [replace(assignment, salvage=True)])
            (new,) = executor.start(executor.plan(request))
        except (RunyardError, OSError) as fault:
            ports.log(
                run.id, "azureml-logs/75_job_post-salvage.txt", f"The leftovers could not be collected: {fault}\n"
            )
            new = handle
        with ports.database.write() as connection:
            records.set_handle(connection, run.id, run.attempt, node, {"job": to_json(new), "salvage": True})

    def _client_is_gone(self, row: JobRow) -> tuple[bool, str]:
        assert row.handle is not None
        client = from_json(ClientProcess, row.handle["client"])
        if client.machine == machine_name():
            gone = start_ticks(client.pid) != client.start_ticks
            return gone, f"its process {client.pid} has ended" if gone else ""
        with self._ports.database.read() as connection:
            heard = records.heartbeat_of(connection, row.run_id)
        silent = heard is not None and self._ports.clock.now() - heard > CLIENT_SILENCE_S
        return silent, "its client has not been heard of" if silent else ""

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
