"""The nodes of runs that are past the queue: looked at together, ended, and salvaged."""

import logging
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

from sqlalchemy import Connection

from runyard.errors import RunyardError
from runyard.job.processes import look_up, machine_name
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.runs import ClientProcess, RunRecord
from runyard_server.domain.patience import Patience
from runyard_server.domain.supervision import HEARTBEAT_LIMIT_S, MAX_SALVAGES, REACH_LIMIT_S, NodeView, must_be_ended
from runyard_server.executors.base import Ability, EngineAwayError, JobHandle, JobObservation, JobRequest, JobState
from runyard_server.lifecycle.ports import Ports
from runyard_server.records import runs as records
from runyard_server.records.runs import JobRow

CLIENT_SILENCE_S = 120.0
FIRMLY_AFTER_S = 60.0  # beyond the job's own grace for its ranks and the time to collect
SALVAGE_LOG = "azureml-logs/75_job_post-salvage.txt"

log = logging.getLogger(__name__)


class Nodes:
    """Sees many runs' nodes with one look at each engine."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._heard = Patience()  # of jobs and of clients
        self._asked_to_end = Patience()
        self._cut_off: set[tuple[str, int, int]] = set()

    def look(self, runs: Sequence[RunRecord]) -> Mapping[str, list[NodeView]]:
        """Each run's nodes by run id; an empty list for a run without any."""
        if not runs:
            return {}
        with self._ports.database.read() as connection:
            rows = records.jobs_of_many(connection, runs)
        handles = [handle for jobs in rows.values() for row in jobs if (handle := _handle(row)) is not None]
        seen = self.observe(handles)
        views = {run_id: [self._view(row, seen) for row in jobs] for run_id, jobs in rows.items()}
        if any(view.is_over for found in views.values() for view in found):
            self._refresh_reports(rows, views)
        return views

    def observe(self, handles: Sequence[JobHandle]) -> Mapping[JobHandle, JobObservation]:
        """What the engines show of jobs; those of an engine that is away are missing."""
        seen: dict[JobHandle, JobObservation] = {}
        for name, executor in self._ports.executors.items():
            mine = [handle for handle in handles if handle.executor == name]
            if mine:
                try:
                    seen.update(executor.observe(mine))
                except (RunyardError, OSError) as fault:  # its jobs are known by what they say
                    log.warning("%s could not be asked for its jobs: %s", name, fault)
        return seen

    def _view(self, row: JobRow, seen: Mapping[JobHandle, JobObservation]) -> NodeView:
        now = self._ports.clock.monotonic()
        sign = (row.reported_at, row.salvages)  # a job that was just started is given its time to speak
        silent_s = self._heard.silence_of((row.run_id, row.attempt, row.node), sign, now)
        handle = _handle(row)
        over, cause, code, began = False, "", None, True
        if handle is not None:
            observation = seen.get(handle)
            if observation is not None and observation.state.is_over:
                over, code, began = True, observation.cause, observation.began
                cause = observation.message or (observation.signal or f"exit code {observation.exit_code}")
            if observation is not None and observation.state is JobState.PENDING:
                silent_s = 0.0  # nobody is there yet who could speak
        elif row.handle is not None and "client" in row.handle:
            over, cause = self._client_is_gone(row)
        elif row.reported_at is None or silent_s > HEARTBEAT_LIMIT_S:
            # An earlier server died while it started this job, and the run was cancelled before it was started again.
            over, cause = True, "the server ended while it started the job"
        tells_late = handle is not None and Ability.QUEUES in self._ports.executors[handle.executor].abilities
        cut_off = tells_late and not over and row.report is None and silent_s > REACH_LIMIT_S
        key = (row.run_id, row.attempt, row.node)
        if cut_off:
            self._cut_off.add(key)
        elif key in self._cut_off and over:
            cause = f"{self._unreachable()}. It was ended"
        return NodeView(
            node=row.node,
            report=row.report,
            is_over=over,
            cause=cause,
            salvages=row.salvages,
            silent_s=silent_s,
            engine_cause=code,
            began=began,
            engine_tells=tells_late,
            is_cut_off=cut_off,
            on_own_disk=bool((row.handle or {}).get("own_disk")),
            heard_at=row.reported_at,
        )

    def _unreachable(self) -> str:
        address = self._ports.assignments.address_elsewhere
        return (
            f"its engine started it, but in {REACH_LIMIT_S:.0f} s nothing was heard of it: its node does not reach this "
            f"server at {address}. Start the server with --public-url and an address that nodes reach"
        )

    def end(self, run: RunRecord, nodes: Sequence[NodeView]) -> None:
        """Asks the jobs that go on to end; those that do not in ``FIRMLY_AFTER_S`` are ended. Call it at every look."""
        now = self._ports.clock.monotonic()
        key = (run.id, run.attempt)
        is_new = key not in self._asked_to_end
        if is_new and not self._cancel(run, {node.node for node in nodes if not node.has_ended}, firmly=False):
            return
        if self._asked_to_end.silence_of(key, None, now) > FIRMLY_AFTER_S:
            self._cancel(run, {node.node for node in nodes if must_be_ended(node)}, firmly=True)

    def _cancel(self, run: RunRecord, nodes: Set[int], firmly: bool) -> bool:
        """Whether every engine could be told."""
        by_executor: dict[str, list[JobHandle]] = {}
        with self._ports.database.read() as connection:
            for row in records.jobs_of(connection, run.id, run.attempt):
                handle = _handle(row)
                if handle is not None and row.node in nodes:
                    by_executor.setdefault(handle.executor, []).append(handle)
        try:
            for name, handles in by_executor.items():
                self._ports.executors[name].cancel(handles, firmly)
        except (RunyardError, OSError) as fault:  # told again at the next look; the job also hears it as it reports
            log.warning("%s could not be told to end: %s", run.id, fault)
            return False
        return True

    def salvage(self, run: RunRecord, node: int) -> None:
        """Starts another job on a lost one's directory: it ends leftovers, then collects and ships."""
        ports = self._ports
        with ports.database.read() as connection:
            rows = records.jobs_of(connection, run.id, run.attempt)
        known = dict(rows[node].handle or {})
        count = rows[node].salvages + 1
        if known.get("own_disk"):
            self._give_up(run, node, known)
            return
        try:
            lost = _handle(rows[node])
            executor = ports.executors[lost.executor if lost else ports.queue.executor_of(run)]
            share = Ability.SHARED_FOLDER in executor.abilities
            if Ability.QUEUES in executor.abilities:
                # The folder is this machine's too; in the engine's queue the run would wait for its end.
                executor = ports.executors["local"]
            assignment = ports.assignments.salvage(run, node, count, share)
            (handle,) = executor.start(executor.plan(JobRequest(run.id, run.attempt, [assignment])))
        except (OSError, EngineAwayError) as fault:
            log.warning("%s cannot be salvaged now: %s", run.id, fault)
            return  # the engine is away: the next look tries it again
        except RunyardError as fault:
            ports.log(run.id, SALVAGE_LOG, f"The leftovers could not be collected: {fault}\n")
            count = MAX_SALVAGES
        else:
            known["job"] = to_json(handle)
        with ports.database.write() as connection:
            records.set_handle(connection, run.id, run.attempt, node, {**known, "salvages": count})

    def _give_up(self, run: RunRecord, node: int, known: dict[str, object]) -> None:
        """Nothing of a node is within reach that had a disk of its own."""
        said = f"The job of node {node} is gone. What it had not sent yet was on that node's own disk.\n"
        self._ports.log(run.id, SALVAGE_LOG, said)
        with self._ports.database.write() as connection:
            records.set_handle(connection, run.id, run.attempt, node, {**known, "salvages": MAX_SALVAGES})

    def _client_is_gone(self, row: JobRow) -> tuple[bool, str]:
        assert row.handle is not None
        if row.handle["client"] is not None:
            client = from_json(ClientProcess, row.handle["client"])
            if client.machine == machine_name():
                process = look_up(client.pid)
                is_there = process is not None and process.is_alive and process.start_ticks == client.start_ticks
                return not is_there, "" if is_there else f"its process {client.pid} has ended"
        with self._ports.database.read() as connection:
            if not row.handle.get("beats", True):
                return _is_left_behind(connection, row.run_id), "the run above it has ended"
            beat = records.heartbeat_of(connection, row.run_id)
        silence_s = self._heard.silence_of((row.run_id, "client"), beat, self._ports.clock.monotonic())
        silent = silence_s > CLIENT_SILENCE_S
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


def _is_left_behind(connection: Connection, run_id: str) -> bool:
    """Whether the run above this one has ended: who logged to this one was part of it."""
    parent_id = records.get(connection, run_id).parent_id
    parent = records.find(connection, parent_id) if parent_id is not None else None
    return parent is not None and parent.status.is_terminal


def _handle(row: JobRow) -> JobHandle | None:
    if row.handle is None or "job" not in row.handle:
        return None
    return from_json(JobHandle, row.handle["job"])
