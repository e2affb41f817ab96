"""What may be asked of runs: submit, change, cancel, look. Moving them on is the lifecycle's."""

import builtins
import json
import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from runyard.distributed.topology import ranks
from runyard.errors import RunException, UserErrorException
from runyard.names import check_experiment_name, check_run_id
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.jobs import JobReply, JobReport
from runyard.protocol.runs import InteractiveRunSpec, RunChanges, RunError, RunEvent, RunRecord, RunSpec
from runyard.protocol.status import Reason, RunStatus
from runyard_server.domain.clock import Clock
from runyard_server.records import deleted_runs, metrics, streams
from runyard_server.records import experiments as experiment_records
from runyard_server.records import runs as records
from runyard_server.records.engine import Database
from runyard_server.records.run_search import COLUMN as COLUMN
from runyard_server.records.run_search import PROPERTY as PROPERTY
from runyard_server.records.run_search import STATUS as STATUS
from runyard_server.records.run_search import RunOrder as RunOrder
from runyard_server.records.run_search import RunSearch as RunSearch
from runyard_server.records.run_search import search, with_property_below
from runyard_server.records.runs import RunFilter as RunFilter  # the API asks with it
from runyard_server.services.admission import Admitted
from runyard_server.services.hub import Hub

MAX_TAGS = 200
LONGEST_NOTE = 16_384  # characters of a tag that the server writes: the record of a run is read often
MOST_LEVELS = 32  # of runs below each other, as far as a look upwards goes


class RunService:
    """What may be asked of runs.

    Args:
        check: refuses a spec that this workspace can never run (unknown target, too many nodes,
            a snapshot that is not here...), by raising; gives what it makes of it otherwise.
        wake: tells the lifecycle that a run needs a look now, and what it is like where that is at hand.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        hub: Hub,
        check: Callable[[RunSpec], Admitted],
        wake: Callable[[str, RunRecord | None], None],
        ended: Callable[[str], None],
    ) -> None:
        self._database = database
        self._clock = clock
        self._hub = hub
        self._check = check
        self._wake = wake
        self._ended = ended  # is told of interactive runs; of the others the lifecycle knows

    # Making runs

    def submit(self, spec: RunSpec, by: str) -> RunRecord:
        """Accepts a run: it has an id from here on, and the lifecycle takes it.

        Raises:
            UserErrorException: what was asked for is impossible here; says what is possible.
        """
        check_experiment_name(spec.experiment)
        admitted = self._check(spec)
        spec = admitted.spec
        now = self._clock.now()
        run_id = check_run_id(spec.id or f"{spec.experiment}_{int(now)}_{secrets.token_hex(4)}")

        def add(connection: Connection) -> RunRecord:
            return self._add(
                connection,
                run_id,
                spec.experiment,
                records.last_in_line(connection, now),
                type="azureml.scriptrun",
                status=RunStatus.STARTING,
                reason=Reason.SUBMITTED.value,
                parent_id=spec.parent,
                display_name=spec.display_name,
                target=spec.target,
                submitted_by=by,
                snapshot=spec.snapshot,
                spec=spec,
                warnings=admitted.warnings,
                tags=spec.tags,
                properties={"ContentSnapshotId": spec.snapshot, **spec.properties},
            )

        return self._once(run_id, add, lambda there: there.spec == spec)

    def start_interactive(
        self,
        spec: InteractiveRunSpec,
        by: str,
        type: str = "azureml.interactive",
        beats: bool = True,
        started_at: float | None = None,
        ended: tuple[RunStatus, float] | None = None,
    ) -> RunRecord:
        """Makes a run whose process the caller itself is; it is Running from the start.

        Args:
            beats: whether the caller gives signs of life. Where it does not, the run goes on until the caller ends
                it, or the run above it has ended.
            started_at: when it began, where that was before now.
            ended: how and when it ended, where that is past too. It is at its end from the first moment: nothing that
                looks after runs that go on ever sees it.
        """
        check_experiment_name(spec.experiment)
        now = self._clock.now() if started_at is None else started_at
        run_id = check_run_id(spec.id or str(uuid.uuid4()))
        # Where its system does not show processes, its heartbeats alone tell that it lives.
        handle: dict[str, Any] = {"client": to_json(spec.process) if spec.process is not None else None}
        if not beats:
            handle["beats"] = False

        def add(connection: Connection) -> RunRecord:
            record = self._add(
                connection,
                run_id,
                spec.experiment,
                now,
                type=type,
                status=RunStatus.RUNNING,
                reason=Reason.STARTED_INTERACTIVELY.value,
                parent_id=spec.parent,
                display_name=spec.display_name,
                target="sdk",
                submitted_by=by,
                snapshot=spec.snapshot,
                started_at=now,
                tags=spec.tags,
                properties=spec.properties,
            )
            records.add_jobs(connection, run_id, 1, [[]])
            records.set_handles(connection, run_id, 1, [handle], now)
            records.touch(connection, run_id, now)
            if ended is None:
                return record
            status, at = ended
            records.move(connection, run_id, status, Reason.ENDED_BY_CALLER, at, by=by)
            return records.get(connection, run_id)

        def is_same(there: RunRecord) -> bool:
            with self._database.read() as connection:
                jobs = records.jobs_of(connection, run_id, there.attempt)
            return spec.process is not None and there.spec is None and [job.handle for job in jobs] == [handle]

        return self._once(run_id, add, is_same)

    def _once(
        self, run_id: str, add: Callable[[Connection], RunRecord], is_same: Callable[[RunRecord], bool]
    ) -> RunRecord:
        """The run that ``add`` makes, or the one that the same request has made before: its answer got lost."""
        try:
            with self._database.write() as connection:
                record = add(connection)
        except IntegrityError:  # most have an id that is new: only the others are looked for
            record = self.get(run_id)
            if not is_same(record):
                raise RunException(f"A run with the id {run_id!r} is here already; ids are never used twice.") from None
        self._wake(run_id, record)
        self._hub.publish(run_id)
        return record

    def rerun(self, run_id: str, by: str, new_id: str | None = None) -> RunRecord:
        """Submits the same code, lock, data and arguments again as a new run."""
        record = self.get(run_id)
        if record.spec is None:
            raise RunException(
                f"Run {run_id} was interactive: its process was the caller itself, so there is nothing to submit again."
            )
        spec = from_json(
            RunSpec,
            {
                **to_json(record.spec),
                "environment_key": record.environment_key,
                "rerun_of": record.id,
                "id": new_id,
            },
        )
        return self.submit(spec, by)

    def _add(
        self, connection: Connection, run_id: str, experiment: str, now: float, parent_id: str | None, **known: Any
    ) -> RunRecord:
        if parent_id is not None:
            records.get(connection, parent_id)
        if deleted_runs.find(connection, run_id) is not None:
            raise RunException(f"There was a run with the id {run_id!r}, which was deleted; ids are never used twice.")
        home = experiment_records.get_or_create(connection, experiment, now)
        number = experiment_records.next_number(connection, home.id)
        record = RunRecord(
            id=run_id,
            number=number,
            experiment=experiment,
            created_at=now,
            version=1,
            parent_id=parent_id,
            **known,
        )
        records.add(connection, record, home.id)
        return record

    # Looking

    def get(self, run_id: str) -> RunRecord:
        """Raises UnknownRunError where there is none."""
        with self._database.read() as connection:
            return records.get(connection, run_id)

    def was_deleted(self, run_id: str) -> bool:
        """Whether there was a run of that id, which has been deleted for good."""
        with self._database.read() as connection:
            return deleted_runs.find(connection, run_id) is not None

    def get_all(self, run_ids: Sequence[str]) -> dict[str, RunRecord]:
        """These runs by id, in this order. Raises UnknownRunError where one is not here."""
        with self._database.read() as connection:
            return records.get_all(connection, run_ids)

    def list(self, wanted: RunFilter) -> Sequence[RunRecord]:
        """Runs that match, newest first."""
        with self._database.read() as connection:
            return records.list_matching(connection, wanted)

    def search(self, wanted: RunSearch) -> builtins.list[RunRecord]:
        """Runs that match comparisons, a page of them."""
        with self._database.read() as connection:
            return search(connection, wanted)

    def count_unfinished(self) -> int:
        """Runs that have not ended."""
        with self._database.read() as connection:
            return records.count_unfinished(connection)

    def ids_of_family(self, run_id: str) -> Sequence[str]:
        """The run and all below it. Raises UnknownRunError where there is none."""
        with self._database.read() as connection:
            return metrics.family(connection, run_id, None)

    def is_below(self, record: RunRecord, above: str) -> bool:
        """Whether a run is the run ``above``, or below it."""
        with self._database.read() as connection:
            for _ in range(MOST_LEVELS):
                if record.id == above:
                    return True
                parent = records.find(connection, record.parent_id) if record.parent_id is not None else None
                if parent is None:
                    return False
                record = parent
        return False

    def events(self, run_id: str) -> Sequence[RunEvent]:
        """The run's story, oldest first."""
        with self._database.read() as connection:
            records.get(connection, run_id)
            return records.events(connection, run_id)

    def jobs(self, run_id: str) -> Sequence[records.JobRow]:
        """The jobs of the present attempt, by node."""
        with self._database.read() as connection:
            return records.jobs_of(connection, run_id, records.get(connection, run_id).attempt)

    def waits_for(self, run: RunRecord) -> str:
        """What keeps the jobs of a run that is collecting what its script left; "" where nothing does."""
        if run.status is not RunStatus.FINALIZING:
            return ""
        said = [row.report.waits_for for row in self.jobs(run.id) if row.report is not None]
        return next((reason for reason in said if reason), "")

    # Changing

    def change(self, run_id: str, changes: RunChanges) -> RunRecord:
        """Sets tags, adds properties, names, describes, archives and restores.

        Raises:
            RunException: a property that is there with another value; they are written once.
        """
        with self._database.write() as connection:
            record = records.get(connection, run_id, lock=True)
            values: dict[str, Any] = {}
            if changes.tags or changes.remove_tags:
                kept = {key: value for key, value in record.tags.items() if key not in (changes.remove_tags or [])}
                values["tags"] = _limited({**kept, **(changes.tags or {})})
            if changes.properties:
                values["properties"] = _added(record.properties, changes.properties)
            for column in ("display_name", "description"):
                value = getattr(changes, column)
                if value is not None:
                    values[column] = value
            if changes.archived is not None and changes.archived != (record.archived_at is not None):
                values["archived_at"] = self._clock.now() if changes.archived else None
            if values:
                records.change(connection, run_id, **values)
        self._hub.publish(run_id)
        return self.get(run_id)

    def add_to_tag(self, run_id: str, key: str, entries: Mapping[str, Any], most: int) -> None:
        """Adds to the JSON object that a tag holds, or begins it where there is room for one more tag.

        Beyond ``most`` entries, and beyond what fits into ``LONGEST_NOTE``, the oldest are left out.
        """
        with self._database.write() as connection:
            record = records.get(connection, run_id, lock=True)
            try:
                known = json.loads(record.tags.get(key) or "{}")
            except ValueError:
                known = {}  # anybody may set a tag
            known = known if isinstance(known, dict) else {}
            kept = {**{name: value for name, value in known.items() if name not in entries}, **entries}
            if key not in record.tags and len(record.tags) >= MAX_TAGS:
                return  # what it is noted of goes well without it
            text = json.dumps(_fitting(list(kept.items())[-most:], LONGEST_NOTE))
            records.change(connection, run_id, tags={**record.tags, key: text})
        self._hub.publish(run_id)

    def with_property_below(self, experiment_ids: Sequence[str], prefix: str, limit: int) -> builtins.list[RunRecord]:
        """The newest runs with a property whose name begins like that."""
        with self._database.read() as connection:
            return with_property_below(connection, experiment_ids, prefix, limit)

    def apply_spooled(
        self, connection: Connection, run_id: str, tags: dict[str, str], properties: dict[str, str]
    ) -> None:
        """Tags and properties that came through a spool, inside the spool's own transaction.

        They were written by a script long gone by now, so a clash drops the new value instead of
        failing: the property's first value stands.
        """
        record = records.get(connection, run_id, lock=True)
        values: dict[str, Any] = {}
        if tags:
            values["tags"] = dict(list({**record.tags, **tags}.items())[:MAX_TAGS])
        if properties:
            values["properties"] = {**properties, **record.properties}
        if values:
            records.change(connection, run_id, **values)

    def cancel(self, run_id: str, by: str) -> RunRecord:
        """Asks for the end; harmless when it has ended or is asked twice."""
        with self._database.write() as connection:
            ended = self._ask_to_end(connection, run_id, by)
        for changed in ended:
            self._wake(changed, None)
            self._hub.publish(changed)
        return self.get(run_id)

    def _ask_to_end(self, connection: Connection, run_id: str, by: str) -> builtins.list[str]:
        """Asks a run and all below it; the ids of those that had not ended."""
        asked = []
        record = records.get(connection, run_id, lock=True)
        if not record.status.is_terminal and record.status is not RunStatus.CANCEL_REQUESTED:
            now, message = self._clock.now(), f"cancelled by {by}"
            records.move(
                connection, run_id, RunStatus.CANCEL_REQUESTED, Reason.CANCEL_ASKED, now, message=message, by=by
            )
            asked.append(run_id)
        for child in records.list_matching(connection, RunFilter(parent_id=run_id, limit=10_000)):
            asked += self._ask_to_end(connection, child.id, by)
        return asked

    def complete(self, run_id: str, by: str) -> RunRecord:
        """Ends an interactive run well. On a submitted run it changes nothing: its supervisor knows the end."""
        return self._end(run_id, RunStatus.COMPLETED, None, by)

    def fail(self, run_id: str, error: RunError, by: str) -> RunRecord:
        """Ends an interactive run badly; on a submitted one the error is kept and it fails when its script ends."""
        return self._end(run_id, RunStatus.FAILED, error, by)

    def end_interactive(self, run_id: str, status: RunStatus, by: str, at: float | None = None) -> RunRecord:
        """Ends an interactive run as ``status``, at a moment that may be past; a submitted one's supervisor knows better."""
        record = self.get(run_id)
        return record if record.spec is not None else self._end(run_id, status, None, by, at)

    def _end(
        self, run_id: str, status: RunStatus, error: RunError | None, by: str, at: float | None = None
    ) -> RunRecord:
        with self._database.write() as connection:
            record = records.get(connection, run_id, lock=True)
            if record.status.is_terminal:
                return record
            if record.spec is not None:
                if error is not None:
                    records.change(connection, run_id, error=to_json(error))
            elif record.status is RunStatus.CANCEL_REQUESTED:
                now, message = self._clock.now(), record.message or ""
                records.move(connection, run_id, RunStatus.CANCELED, Reason.CANCELED, now, message=message, by=by)
            else:
                now, warnings = at or self._clock.now(), [*record.warnings, *self._account(connection, record)]
                reason = Reason.ENDED_BY_CALLER
                records.move(connection, run_id, status, reason, now, by=by, error=error, warnings=warnings)
        if record.spec is None:
            self._ended(run_id)
        self._hub.publish(run_id)
        return self.get(run_id)

    def _account(self, connection: Connection, run: RunRecord) -> builtins.list[str]:
        """Notes what an interactive run's client says it has written; gives its warnings."""
        said = [row.report for row in records.jobs_of(connection, run.id, run.attempt) if row.report is not None]
        for report in said:
            streams.set_written(connection, run.id, report.written)
        return [warning for report in said for warning in report.warnings]

    # What jobs and clients of interactive runs say

    def report(self, run_id: str, said: JobReport) -> JobReply:
        """Takes a job's report; the reply says whether it is to stop, or speaks for an old attempt."""
        now = self._clock.now()
        with self._database.write() as connection:
            record = records.get(connection, run_id, lock=True)
            if said.attempt != record.attempt or record.status.is_terminal:
                return JobReply(stale=True)
            news = records.report(connection, run_id, said, now)
            if not news:
                records.heartbeat(connection, run_id, said.attempt, said.node, now)
            siblings = records.jobs_of(connection, run_id, record.attempt)
        cancel = record.status is RunStatus.CANCEL_REQUESTED or _gang_is_broken(siblings)
        if news:
            self._wake(run_id, None)
            self._hub.publish(run_id)
        return JobReply(
            cancel=cancel,
            workers_done=record.spec is not None and _workers_are_done(record.spec, siblings),
            launch=_launch_of(siblings, said.node),
            ranks_over=all(row.has_no_ranks for row in siblings),
            turn=all(row.has_stored for row in siblings if row.node < said.node),
        )

    def heartbeat(self, run_id: str) -> JobReply:
        """A sign of life of an interactive run's client."""
        with self._database.write() as connection:
            record = records.get(connection, run_id)
            records.touch(connection, run_id, self._clock.now())
        return JobReply(cancel=record.status is RunStatus.CANCEL_REQUESTED, stale=record.status.is_terminal)


def _gang_is_broken(jobs: Sequence[records.JobRow]) -> bool:
    """Whether some node's ranks failed: the others of the gang end then too."""
    for row in jobs:
        if row.report is not None and (row.report.error is not None or row.report.timed_out):
            return True
    return False


def _workers_are_done(spec: RunSpec, jobs: Sequence[records.JobRow]) -> bool:
    """Whether all ranks have ended well but for those that serve them, which never do by themselves."""
    if spec.distribution.kind != "tensorflow":
        return False
    ended = {rank.rank for row in jobs if row.report for rank in row.report.ranks if rank.exit_code == 0}
    return all(rank.serves or rank.number in ended for rank in ranks(spec.distribution, spec.node_count))


def _launch_of(jobs: Sequence[records.JobRow], node: int) -> str | None:
    """What the first node of an MPI run has for another one to start."""
    said = jobs[0].report.launch if jobs and jobs[0].report else []
    return said[node] if 0 < node < len(said) else None


def _fitting(entries: builtins.list[tuple[str, Any]], characters: int) -> dict[str, Any]:
    """Of these entries, the last first, those that fit into a JSON object with so many characters."""
    found: builtins.list[tuple[str, Any]] = []
    for name, value in reversed(entries):
        length = len(json.dumps({name: value}))  # its braces are as long as what stands between two entries
        if length <= characters:
            characters -= length
            found.append((name, value))
    return dict(reversed(found))


def _limited(tags: dict[str, str]) -> dict[str, str]:
    if len(tags) > MAX_TAGS:
        raise UserErrorException(f"A run has at most {MAX_TAGS} tags; this would make {len(tags)}.")
    return tags


def _added(before: dict[str, str], new: dict[str, str]) -> dict[str, str]:
    clash = sorted(key for key, value in new.items() if before.get(key, value) != value)
    if clash:
        raise RunException(
            f"Properties are written once, and {', '.join(clash)} has a value already. Use a tag for what changes."
        )
    return {**before, **new}
