"""Curves of metrics for pictures: many runs and metrics at once, each no finer than the picture is wide."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from runyard.errors import UserErrorException
from runyard_server.domain.metric_chunks import Number, Points, unpack
from runyard_server.domain.metric_curves import BLOCK, ELAPSED, PLACE, STEP, TIME, Line, Outline, thinned
from runyard_server.records import metrics as records
from runyard_server.records import runs as run_records
from runyard_server.records.engine import Database
from runyard_server.records.metrics import ChunkHead

AXES = (STEP, ELAPSED, TIME)
MOST_WIDTH = 4000
MOST_CURVES = 5000
MOST_POINTS = 500_000
_CHUNKS_AT_ONCE = 64

Range = tuple[float | None, float | None]


@dataclass(frozen=True)
class Curve:
    """A metric of a run as it is drawn.

    Attributes:
        axis: what ``xs`` counts: "step", "place" (first, second ... point), "elapsed" (seconds since the run
            began) or "time" (seconds since the epoch).
        count: how many points there are in all.
        middles: x and mean of each column that has a finite value, for smoothing.
    """

    run_id: str
    name: str
    axis: str
    count: int
    xs: Sequence[Number]
    values: Sequence[Number]
    middles: Sequence[tuple[float, float]]


class CurveService:
    """Gives curves; reads of a long one little more than is drawn.

    Args:
        most_points: where whole curves that are asked for at once have more of them, each is drawn from its outlines
            as far as it has any, however wide the picture is: none of its leasts and greatests is lost by that.
    """

    def __init__(self, database: Database, most_points: int = MOST_POINTS) -> None:
        self._database = database
        self._most_points = most_points

    def of(
        self,
        run_ids: Sequence[str],
        names: Sequence[str],
        width: int,
        axis: str = STEP,
        low: float | None = None,
        high: float | None = None,
    ) -> list[Curve]:
        """The curves of these metrics of these runs, in this order; those that have no numbers are left out.

        Args:
            width: how many columns of pixels the range is drawn on. Of each, at most seven points are given.
            axis: one of AXES. Where points have no steps, their places take their place.
            low, high: the range that is looked at, on that axis; None for the end of the line.
        Raises:
            UnknownRunError: one of the runs is not here.
            UserErrorException: the question cannot be answered.
        """
        _check(run_ids, names, width, axis, low, high)
        with self._database.read() as connection:
            known = run_records.get_all(connection, run_ids)
            began = {run_id: run.started_at or run.created_at for run_id, run in known.items()}
            heads = records.chunk_heads(connection, run_ids, names)
            asked = [(run_id, name) for run_id in run_ids for name in names if (run_id, name) in heads]
            points = sum(head.count for each in asked for head in heads[each])
            finest = 0 if points > self._most_points and low is None and high is None else width * BLOCK
            looks = (
                _Look(run_id, name, heads[run_id, name], width, finest, axis, began[run_id], low, high)
                for run_id, name in asked
            )
            return [curve for some in _groups(looks) for curve in _curves(connection, some)]


@dataclass(frozen=True)
class _Look:
    """One curve that is asked for. ``finest``: from how many points in sight on its outlines do."""

    run_id: str
    name: str
    heads: Sequence[ChunkHead]
    width: int
    finest: int
    axis: str
    began_at: float
    low: float | None
    high: float | None

    @property
    def shift(self) -> float:
        """What is taken off a time."""
        return self.began_at if self.axis == ELAPSED else 0.0

    @property
    def range(self) -> Range:
        """The range on the axis of the points themselves."""
        low, high = (None if end is None else end + self.shift for end in (self.low, self.high))
        return low, high

    @property
    def loose(self) -> list[int]:
        """What has no outline is short, and read in any case; whether it has steps is known only then."""
        return [head.id for head in self.heads if not head.is_outlined]

    def before(self) -> dict[int, int]:
        """How many points there are before each chunk."""
        found, counted = {}, 0
        for head in self.heads:
            found[head.id] = counted
            counted += head.count
        return found

    def seen(self, stepped: bool) -> tuple[list[int], bool]:
        """The outlined chunks that are in sight, and whether their outlines do."""
        low, high = self.range
        heads = [head for head in self.heads if head.is_outlined]
        shown = float(sum(head.count for head in heads))
        if low is not None or high is not None:
            before = self.before()
            spans = [_span(head, self.axis, stepped, before[head.id]) for head in heads]
            shown = sum(head.count * _share(span, low, high) for head, span in zip(heads, spans, strict=True))
            heads = _in_sight(heads, spans, low, high)
        return [head.id for head in heads], shown >= self.finest


def _groups(looks: Iterable[_Look]) -> Iterator[list[_Look]]:
    """Some at a time: a question to the database for each would take longest of all, one for all the memory."""
    group: list[_Look] = []
    chunks = 0
    for look in looks:
        if group and chunks + len(look.heads) > _CHUNKS_AT_ONCE:
            yield group
            group, chunks = [], 0
        group.append(look)
        chunks += len(look.heads)
    if group:
        yield group


def _curves(connection: Connection, looks: Sequence[_Look]) -> list[Curve]:
    loose = _unpacked(connection, [id_ for look in looks for id_ in look.loose])
    stepped = [look.axis == STEP and _has_steps(look.heads, loose) for look in looks]
    seen = [look.seen(has_steps) for look, has_steps in zip(looks, stepped, strict=True)]
    outlines = records.outlines_by_id(connection, [id_ for ids, by_outline in seen if by_outline for id_ in ids])
    whole = _unpacked(connection, [id_ for ids, by_outline in seen if not by_outline for id_ in ids])
    chunks = {**loose, **whole}
    return [_curve(look, has_steps, outlines, chunks) for look, has_steps in zip(looks, stepped, strict=True)]


def _curve(look: _Look, stepped: bool, outlines: Mapping[int, Outline], chunks: Mapping[int, Points]) -> Curve:
    """One of them, of what was read."""
    axis = look.axis if look.axis != STEP or stepped else PLACE
    before, line = look.before(), Line(axis)
    for head in look.heads:
        if head.id in outlines:
            line.add_outline(outlines[head.id], before[head.id])
        elif head.id in chunks:
            line.add_points(chunks[head.id], before[head.id])
    kept = thinned(line.xs, line.values, line.starts, line.means, look.width, *look.range)
    shift = look.shift
    return Curve(
        run_id=look.run_id,
        name=look.name,
        axis=axis,
        count=sum(head.count for head in look.heads),
        xs=[line.xs[place] - shift if shift else line.xs[place] for place in kept.places],
        values=[line.values[place] for place in kept.places],
        middles=[(x - shift, middle) for x, middle in kept.middles],
    )


def _check(
    run_ids: Sequence[str], names: Sequence[str], width: int, axis: str, low: float | None, high: float | None
) -> None:
    if axis not in AXES:
        raise UserErrorException(f"The axis must be one of {', '.join(AXES)}, not {axis!r}.")
    if not 1 <= width <= MOST_WIDTH:
        raise UserErrorException(f"A width is 1 to {MOST_WIDTH:,} pixels, not {width}.")
    if len(run_ids) * len(names) > MOST_CURVES:
        raise UserErrorException(
            f"At most {MOST_CURVES:,} curves are given at once, not {len(run_ids):,} runs × {len(names):,} metrics."
        )
    for end in (low, high):
        if end is not None and not abs(end) < float("inf"):
            raise UserErrorException(f"A range is from a finite number to another, not {end}.")


def _unpacked(connection: Connection, ids: Sequence[int]) -> dict[int, Points]:
    return {id_: unpack(chunk) for id_, chunk in records.chunks_by_id(connection, ids).items()}


def _has_steps(heads: Sequence[ChunkHead], loose: Mapping[int, Points]) -> bool:
    """Whether every point of these chunks has a step. ``loose`` has those without an outline, and other curves' too."""
    if any(head.is_outlined and head.low_step is None for head in heads):
        return False
    own = (loose[head.id] for head in heads if head.id in loose)
    return all(step is not None for points in own for step in points.steps)


def _span(head: ChunkHead, axis: str, stepped: bool, before: int) -> tuple[float, float]:
    """From where to where a chunk lies."""
    if axis != STEP:
        assert head.low_time is not None and head.high_time is not None
        return head.low_time, head.high_time
    if stepped:
        assert head.low_step is not None and head.high_step is not None
        return head.low_step, head.high_step
    return before + 1, before + head.count


def _share(span: tuple[float, float], low: float | None, high: float | None) -> float:
    """How much of a chunk lies in the range, if its points lie evenly."""
    first, last = span
    begin, end = first if low is None else max(first, low), last if high is None else min(last, high)
    return 0.0 if end < begin else 1.0 if last == first else (end - begin) / (last - first)


def _in_sight(
    heads: Sequence[ChunkHead], spans: Sequence[tuple[float, float]], low: float | None, high: float | None
) -> list[ChunkHead]:
    """The chunks that lie in the range, and the nearest on each side of it."""
    left = [span[1] for span in spans if low is not None and span[1] < low]
    right = [span[0] for span in spans if high is not None and span[0] > high]
    nearest = (max(left, default=None), min(right, default=None))
    return [
        head
        for head, (first, last) in zip(heads, spans, strict=True)
        if (
            (low is None or last >= low or last == nearest[0])
            and (high is None or first <= high or first == nearest[1])
        )
    ]
