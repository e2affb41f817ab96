"""Curves of metrics for pictures: many runs and metrics at once, each no finer than the picture is wide."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from runyard.errors import UserErrorException
from runyard_server.domain.metric_chunks import Number, Points, unpack
from runyard_server.domain.metric_curves import BLOCK, Line, thinned
from runyard_server.records import metrics as records
from runyard_server.records import runs as run_records
from runyard_server.records.engine import Database
from runyard_server.records.metrics import ChunkHead

STEP, ELAPSED, TIME = "step", "elapsed", "time"
AXES = (STEP, ELAPSED, TIME)
PLACE = "place"  # what takes the place of steps where there are none
MOST_WIDTH = 4000
MOST_CURVES = 5000
MOST_POINTS = 500_000

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
            return [
                _curve(connection, run_id, name, heads[run_id, name], width, finest, axis, began[run_id], (low, high))
                for run_id, name in asked
            ]


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


def _curve(
    connection: Connection,
    run_id: str,
    name: str,
    heads: Sequence[ChunkHead],
    width: int,
    finest: int,
    axis: str,
    began_at: float,
    asked: Range,
) -> Curve:
    """One of them. ``finest``: from how many points in sight on its outlines do."""
    # What has no outline is short, and read in any case; whether it has steps is known only then.
    loose = _unpacked(connection, [head.id for head in heads if not head.is_outlined])
    before, counted = {}, 0
    for head in heads:
        before[head.id] = counted
        counted += head.count
    shift = began_at if axis == ELAPSED else 0.0
    low, high = (None if end is None else end + shift for end in asked)
    stepped = axis == STEP and _has_steps(heads, loose)
    seen = [head for head in heads if head.is_outlined]
    shown = float(sum(head.count for head in seen))
    if low is not None or high is not None:
        spans = [_span(head, axis, stepped, before[head.id]) for head in seen]
        shown = sum(head.count * _share(span, low, high) for head, span in zip(seen, spans, strict=True))
        seen = _in_sight(seen, spans, low, high)
    line = Line()
    ids = [head.id for head in seen]
    if shown >= finest:
        outlines, chunks = records.outlines_by_id(connection, ids), loose
    else:
        outlines, chunks = {}, {**loose, **_unpacked(connection, ids)}
    for head in heads:
        if head.id in outlines:
            line.add_outline(outlines[head.id], before[head.id])
        elif head.id in chunks:
            line.add_points(chunks[head.id], before[head.id])
    xs: Sequence[Number]
    if axis != STEP:
        xs = line.points.times
    else:
        xs = [step for step in line.points.steps if step is not None] if stepped else line.places
    kept = thinned(xs, line.points.values, line.starts, line.means, width, low, high)
    return Curve(
        run_id=run_id,
        name=name,
        axis=axis if axis != STEP or stepped else PLACE,
        count=counted,
        xs=[xs[place] - shift if shift else xs[place] for place in kept.places],
        values=[line.points.values[place] for place in kept.places],
        middles=[(x - shift, middle) for x, middle in kept.middles],
    )


def _unpacked(connection: Connection, ids: Sequence[int]) -> dict[int, Points]:
    return {id_: unpack(chunk) for id_, chunk in records.chunks_by_id(connection, ids).items()}


def _has_steps(heads: Sequence[ChunkHead], loose: dict[int, Points]) -> bool:
    if any(head.is_outlined and head.low_step is None for head in heads):
        return False
    return all(step is not None for points in loose.values() for step in points.steps)


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
