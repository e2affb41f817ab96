"""The numbers in TensorBoard's event files become metrics of their run, each of them once.

How much of a file has been taken is noted as a stream of the run, ``tensorboard/<file>``, in the transaction that stores
its points: whoever takes them again, goes on.
"""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from runyard.errors import FileNotInRunError, RunyardError
from runyard.event_files import HEADER, is_event_file
from runyard.protocol.runs import RunRecord
from runyard.protocol.system_metrics import PREFIX
from runyard_server.domain.clock import Clock
from runyard_server.domain.event_files import Reading, read
from runyard_server.domain.metric_chunks import Points
from runyard_server.domain.spool_lines import NAME_LENGTH
from runyard_server.records import runs as run_records
from runyard_server.records import streams
from runyard_server.records.engine import Database
from runyard_server.services.files import FileService
from runyard_server.services.logs import READ_BYTES, LogService
from runyard_server.services.metrics import MetricService

VARIABLE = "RUNYARD_TENSORBOARD_METRICS"  # of a run's environment: its event files are taken without being asked for
STREAM = "tensorboard/"
DESCRIPTION = "from TensorBoard's event files"  # of the metrics that are made here, by which they are known again
ASKED_BYTES = 1 << 20  # are read of a run's files for one request,
LOOK_BYTES = 256 << 10  # and in one look of the lifecycle at the run
LOOK_EVERY_S = 5.0
LONGEST_NAME = 1000  # of a file
MOST_SAID = 50  # warnings

_PIECE = 256 << 10
_SAMPLE = 4096
_FOLDERS = ("logs/", "outputs/")
_OF_A_NODE = re.compile(r"logs/node-\d+/(.+)")
_OF_AN_ATTEMPT = re.compile(r"(^|/)attempt-\d+$")

log = logging.getLogger(__name__)


@dataclass
class Taken:
    """What was taken.

    Attributes:
        files: event files that the run has.
        points: numbers that are new in its history.
        metrics: names of the metrics that have got some.
        warnings: what could not be taken, and why.
        more: whether something is left, for the next time.
    """

    files: int = 0
    points: int = 0
    metrics: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    more: bool = False


class TensorboardService:
    """Takes event files into the histories of their runs."""

    def __init__(
        self, database: Database, clock: Clock, logs: LogService, files: FileService, metrics: MetricService
    ) -> None:
        self._database = database
        self._clock = clock
        self._logs = logs
        self._files = files
        self._metrics = metrics
        self._next_look: dict[str, float] = {}
        self._said: dict[str, list[str]] = {}  # by run, until its end

    def take(self, run_id: str, most_bytes: int = ASKED_BYTES) -> Taken:
        """Takes what is new in the run's event files, or a part of it.

        Raises:
            UnknownRunError: no such run.
        """
        with self._database.read() as connection:
            run = run_records.get(connection, run_id)
        found = _Taking(self, run, most_bytes).everything()
        if run.status.is_terminal and found.points:
            self._metrics.settle(run_id)
        return found

    def look(self, run: RunRecord) -> None:
        """Takes a part of what is new, where a run that goes on has asked for it, now and then."""
        now = self._clock.monotonic()
        if is_wanted(run) and now >= self._next_look.get(run.id, now):
            found = self._noted(run)
            self._next_look[run.id] = now if found.more else now + LOOK_EVERY_S

    def finish(self, run: RunRecord) -> Sequence[str] | None:
        """Takes a part of what is left of a run that asked for it; at the end, all that there is to warn of.

        None while something is left: call it again.
        """
        if not is_wanted(run):
            return []
        if self._noted(run).more:
            return None
        self._next_look.pop(run.id, None)
        return self._said.pop(run.id, [])

    def _noted(self, run: RunRecord) -> Taken:
        said = self._said.setdefault(run.id, [])
        try:
            found = self.take(run.id, LOOK_BYTES)
        except (RunyardError, OSError) as fault:  # the run itself is none the worse, and is to end
            log.warning("The event files of %s: %s", run.id, fault)
            found = Taken(warnings=[f"Numbers of TensorBoard's event files were not taken: {fault}"])
        said += [text for text in found.warnings if text not in said][: MOST_SAID - len(said)]
        return found

    # What a taking needs

    def sizes(self, run_id: str) -> dict[str, int]:
        """The run's event files and how large they are, by name."""
        found = {name: size for name, size in self._files.sizes(run_id) if is_event_file(name)}
        for name, size in self._logs.list(run_id):
            if is_event_file(name):
                found[name] = max(size, found.get(name, 0))
        return dict(sorted(found.items()))

    def read(self, run_id: str, name: str, offset: int, limit: int) -> bytes:
        """A piece of a file, from wherever it has so much."""
        try:
            piece = self._logs.read(run_id, name, offset, limit)
            if len(piece) == limit:
                return piece
        except FileNotInRunError:
            return self._files.read(run_id, name, offset, limit)
        try:
            return max(piece, self._files.read(run_id, name, offset, limit), key=len)
        except FileNotInRunError:
            return piece

    def stored(self, run_id: str) -> dict[str, int]:
        """How much of each file has been taken."""
        with self._database.read() as connection:
            rows = streams.of_run(connection, run_id)
        return {row.name[len(STREAM) :]: row.stored for row in rows if row.name.startswith(STREAM)}

    def store(
        self, run_id: str, name: str, start: int, end: int, metrics: Mapping[str, Points]
    ) -> Sequence[str] | None:
        return self._metrics.take_read(run_id, STREAM + name, start, end, metrics, DESCRIPTION)


class _Taking:
    """One pass over a run's event files."""

    def __init__(self, service: TensorboardService, run: RunRecord, most_bytes: int) -> None:
        self._service = service
        self._run = run
        self._left = most_bytes
        self._found = Taken()
        self._metrics: dict[str, None] = {}  # that have got points, in the order in which they did

    def everything(self) -> Taken:
        found, sizes = self._found, self._service.sizes(self._run.id)
        copies = _copies(sizes)
        positions = self._service.stored(self._run.id)
        found.files = len(sizes)
        for name, size in sizes.items():
            position = positions.get(name, 0)
            if size <= position:
                continue
            if len(name) > LONGEST_NAME:
                self._warn(f"{name[:100]}...: its name is too long, and its numbers were not taken")
            elif not any(self._begin_alike(name, other) for other in copies.get(name, ())):
                self._file(name, position, size)
        found.metrics = list(self._metrics)
        return found

    def _file(self, name: str, position: int, size: int) -> None:
        while position < size:
            if self._left <= 0:
                self._found.more = True
                return
            part = self._part(name, position, size)
            for fault in part.faults:
                self._warn(f"{name}: {fault}")
            if part.end == 0:
                if part.is_damaged:  # nothing after it can be found: it is not read again and again
                    self._service.store(self._run.id, name, position, size, {})
                return
            metrics = self._named(name, part.points)
            refused = self._service.store(self._run.id, name, position, position + part.end, metrics)
            if refused is None:  # another process of ours was quicker
                self._found.more = True
                return
            for metric in refused:
                self._warn(
                    f"{name}: the run has logged a metric {metric!r} itself, and the one in the event file was not taken"
                )
            kept = metrics.keys() - set(refused)
            self._found.points += sum(len(metrics[metric].values) for metric in kept)
            self._metrics.update(dict.fromkeys(metric for metric in metrics if metric in kept))
            position += part.end

    def _part(self, name: str, position: int, size: int) -> Reading:
        """The next records of a file; ``end`` is 0 where none has come whole.

        Then its head alone was read: a record that does not come whole must not use up every look, or the files
        after it would never be taken, and the run never end.
        """
        first = read(self._service.read(self._run.id, name, position, HEADER.size), position)
        if first.is_damaged or not 0 < first.wanted <= size - position:
            return first
        if first.wanted > READ_BYTES:  # an image, a graph: no numbers
            return Reading(end=first.wanted)
        data = self._service.read(self._run.id, name, position, max(_PIECE, first.wanted))
        part = read(data, position)
        if part.end > 0:
            self._left -= len(data)
        return part

    def _named(self, name: str, points: Mapping[str, Points]) -> dict[str, Points]:
        """The points by the names that they have among the run's metrics."""
        folder = folder_of(name, self._run.attempt)
        found = {}
        for tag, columns in points.items():
            metric = _clean(folder + tag)
            if not tag or len(metric) > NAME_LENGTH or metric.startswith(PREFIX):
                self._warn(
                    f"{name}: {metric[:100]!r} can be no metric's name (1 to {NAME_LENGTH} characters, and none that "
                    f"begins with {PREFIX!r}); its numbers were not taken"
                )
            else:
                found[metric] = columns
        return found

    def _begin_alike(self, name: str, other: str) -> bool:
        mine, others = (self._service.read(self._run.id, one, 0, _SAMPLE) for one in (name, other))
        return mine[: len(others)] == others[: len(mine)]

    def _warn(self, text: str) -> None:
        if text not in self._found.warnings and len(self._found.warnings) < MOST_SAID:
            self._found.warnings.append(text)


def _copies(names: Iterable[str]) -> dict[str, list[str]]:
    """By the name under which what another node wrote is collected: the names that it had while it grew."""
    found: dict[str, list[str]] = {}
    for name in names:
        of_node = _OF_A_NODE.fullmatch(name)
        if of_node:
            found.setdefault("logs/" + of_node[1], []).append(name)
    return found


def is_wanted(run: RunRecord) -> bool:
    """Whether the run's environment asks for it."""
    said = run.spec.environment.variables.get(VARIABLE, "") if run.spec is not None else ""
    return said not in ("", "0")


def folder_of(name: str, attempt: int) -> str:
    """What stands before the tags of a file: its folder, as TensorBoard shows it. An attempt goes on with its metrics."""
    for top in _FOLDERS:
        if name.startswith(top):
            name = name[len(top) :]
            break
    folder = name.rpartition("/")[0]
    if attempt > 1:
        folder = _OF_AN_ATTEMPT.sub("", folder)
    return folder + "/" if folder else ""


def _clean(text: str) -> str:
    return text.replace("\0", "\ufffd")
