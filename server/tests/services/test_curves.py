"""Curves as pictures ask for them, from chunks that are sealed and from those that are not."""

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from runyard.errors import UnknownRunError, UserErrorException
from runyard_server.domain.metric_curves import BLOCK
from runyard_server.records.engine import Database
from runyard_server.records.tables import runs
from runyard_server.services import metrics as metrics_module
from runyard_server.services.curves import Curve, CurveService
from runyard_server.services.hub import Hub
from runyard_server.services.metrics import MetricService

from .test_metrics import add_run

COUNT = 3 * metrics_module.SEALED_POINTS + 1000
SPIKES = {4: math.nan, 5000: 9.0, 12_345: -9.0, 20_000: math.inf, 20_001: -math.inf, COUNT - 2: math.nan}
VALUES = [SPIKES.get(n, math.sin(n / 300)) for n in range(COUNT)]


def take(metrics: MetricService, run_id: str, records: list[list[Any]], writer: str = "w") -> None:
    body = "".join(json.dumps(record) + "\n" for record in records).encode()
    metrics.take(run_id, writer, 0, body)


@pytest.fixture
def metrics(database: Database) -> MetricService:
    add_run(database, "r1")
    return MetricService(database, Hub(), lambda *_: None)


@pytest.fixture
def curves(database: Database) -> CurveService:
    return CurveService(database)


@pytest.fixture
def long(metrics: MetricService) -> MetricService:
    """A metric of some ten thousands points, logged in pieces, and a short one."""
    records: list[list[Any]] = [["s", "long", value, 1000.0 + n / 4, 2 * n] for n, value in enumerate(VALUES)]
    size = 0
    for start in range(0, COUNT, 3000):
        body = "".join(json.dumps(record) + "\n" for record in records[start : start + 3000]).encode()
        size = metrics.take("r1", "w", size, body)
    take(metrics, "r1", [["s", "short", n, 50.0 + n] for n in range(5)], "other")
    return metrics


def only(found: list[Curve]) -> Curve:
    (one,) = found
    return one


def check(curve: Curve, low: int = 0, high: int = COUNT - 1) -> None:
    """Every point is one that was logged, and nothing that the eye would see is missing between two places."""
    shown = dict(zip((int(x) // 2 for x in curve.xs), curve.values, strict=True))
    assert list(shown) == sorted(shown)
    assert all(repr(value) == repr(VALUES[n]) for n, value in shown.items())
    assert {low, high} <= set(shown)
    inside = [value for n, value in shown.items() if low <= n <= high and math.isfinite(value)]
    truth = [value for value in VALUES[low : high + 1] if math.isfinite(value)]
    assert (min(inside), max(inside)) == (min(truth), max(truth))
    for n, value in SPIKES.items():
        if low <= n <= high and not math.isfinite(value):
            assert n in shown


@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize("width", [5, 50, 150, 1000])
def test_a_long_curve_is_drawn_with_its_extremes_its_ends_and_what_is_no_number(
    long: MetricService, curves: CurveService, width: int, settled: bool
) -> None:
    if settled:
        long.settle("r1")
    found = only(curves.of(["r1"], ["long"], width))
    assert (found.name, found.axis, found.count) == ("long", "step", COUNT)
    assert len(found.xs) <= 7 * width
    check(found)


def test_a_closer_look_shows_the_points_themselves_and_one_beside_on_each_side(
    long: MetricService, curves: CurveService
) -> None:
    found = only(curves.of(["r1"], ["long"], 300, low=2 * 12_300, high=2 * 12_400))
    assert list(found.xs) == [2 * n for n in range(12_299, 12_402)]
    assert repr(list(found.values)) == repr(VALUES[12_299:12_402])
    between = only(curves.of(["r1"], ["long"], 300, low=100.2, high=101.8))
    assert list(between.xs) == [100, 102]
    check(only(curves.of(["r1"], ["long"], 20, low=0, high=40_002)), high=20_001)


@pytest.mark.parametrize("width", [10, 4000])
def test_over_time_a_curve_begins_when_the_run_did(
    long: MetricService, curves: CurveService, database: Database, width: int
) -> None:
    with database.write() as connection:
        connection.execute(update(runs).values(started_at=900.0))
    elapsed, wall = (only(curves.of(["r1"], ["long"], width, axis)) for axis in ("elapsed", "time"))
    assert (elapsed.axis, elapsed.xs[0], elapsed.xs[-1]) == ("elapsed", 100.0, 100.0 + (COUNT - 1) / 4)
    assert (wall.axis, wall.xs[0]) == ("time", 1000.0)
    assert repr(list(wall.values)) == repr(list(elapsed.values))
    near = only(curves.of(["r1"], ["long"], 100, "elapsed", 200.0, 201.0))
    assert list(near.xs) == [199.75, 200.0, 200.25, 200.5, 200.75, 201.0, 201.25]


def test_without_steps_points_stand_at_their_places(long: MetricService, curves: CurveService) -> None:
    found = only(curves.of(["r1"], ["short"], 100))
    assert (found.axis, list(found.xs), list(found.values)) == ("place", [1, 2, 3, 4, 5], [0, 1, 2, 3, 4])
    count = 2 * metrics_module.SEALED_POINTS
    take(long, "r1", [["s", "counted", n, 1.0] for n in range(count)], "third")
    far, near = curves.of(["r1"], ["counted"], 10), curves.of(["r1"], ["counted"], 10, low=9000, high=9003)
    assert (only(far).axis, only(far).xs[-1]) == ("place", count)
    assert list(only(near).xs) == [8999, 9000, 9001, 9002, 9003, 9004]


def test_points_that_came_out_of_order_are_drawn_in_the_order_of_the_axis(
    metrics: MetricService, curves: CurveService
) -> None:
    take(metrics, "r1", [["s", "x", n, 1.0, n] for n in range(0, 5000, 2)], "rank-0")
    take(metrics, "r1", [["s", "x", n, 1.0, n] for n in range(1, 5000, 2)], "rank-1")
    take(metrics, "r1", [["s", "x", 7000 - n, 1.0, 7000 - n] for n in range(1000)], "rank-2")
    metrics.settle("r1")
    for width in (3, 4000):
        found = only(curves.of(["r1"], ["x"], width))
        assert list(found.xs) == sorted(found.xs) == list(found.values)
        assert (found.xs[0], found.xs[-1]) == (0, 7000)


def test_many_runs_and_metrics_come_in_the_order_in_which_they_were_asked_for(
    long: MetricService, curves: CurveService, database: Database
) -> None:
    add_run(database, "r2")
    take(long, "r2", [["s", "short", 1.0, 1.0]])
    found = curves.of(["r2", "r1"], ["short", "none", "long"], 10)
    assert [(one.run_id, one.name) for one in found] == [("r2", "short"), ("r1", "short"), ("r1", "long")]


def test_of_very_many_points_outlines_are_drawn_on_a_wide_picture_too(
    long: MetricService, curves: CurveService, database: Database
) -> None:
    wide = 4000
    assert wide * BLOCK > COUNT
    exact = only(curves.of(["r1"], ["long"], wide))
    rough = only(CurveService(database, most_points=COUNT - 1).of(["r1"], ["long"], wide))
    assert len(rough.values) < len(exact.values) / 4
    finite = [[value for value in one.values if math.isfinite(value)] for one in (exact, rough)]
    assert (min(finite[0]), max(finite[0])) == (min(finite[1]), max(finite[1]))
    assert (rough.xs[0], rough.xs[-1], rough.count) == (exact.xs[0], exact.xs[-1], exact.count)
    near = only(CurveService(database, most_points=0).of(["r1"], ["long"], wide, low=10, high=20))
    assert list(near.xs) == [*range(8, 23, 2)]


def test_what_cannot_be_answered_is_refused_with_what_can(metrics: MetricService, curves: CurveService) -> None:
    with pytest.raises(UnknownRunError):
        curves.of(["missing"], ["x"], 10)
    for asked, said in (
        ({"width": 0}, "1 to 4,000"),
        ({"width": 10, "axis": "colour"}, "step, elapsed, time"),
        ({"width": 10, "low": math.nan}, "finite"),
    ):
        with pytest.raises(UserErrorException, match=said):
            curves.of(["r1"], ["x"], **asked)  # type: ignore[arg-type]
    with pytest.raises(UserErrorException, match="5,000"):
        curves.of(["r1"] * 51, ["x"] * 100, 10)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
@given(
    st.lists(st.integers(1, 2500), min_size=1, max_size=6),
    st.integers(1, 60),
    st.tuples(st.integers(0, 9000), st.integers(1, 3000)),
    st.booleans(),
)
def test_however_the_points_came_every_column_has_its_least_and_greatest(
    database: Database, cuts: list[int], width: int, asked: tuple[int, int], settled: bool
) -> None:
    """Against a look at every point: a column of the picture is at most a block off."""
    metrics, curves = MetricService(database, Hub(), lambda *_: None), CurveService(database)
    with database.read() as connection:
        run_id = f"run-{connection.execute(runs.select()).all().__len__()}"
    add_run(database, run_id)
    count, size = 0, 0
    for cut in cuts:
        body = "".join(json.dumps(["s", "x", n * 7919 % 1013, 1.0, n]) + "\n" for n in range(count, count + cut))
        size = metrics.take(run_id, "w", size, body.encode())
        count += cut
    if settled:
        metrics.settle(run_id)
    low, high = asked[0], asked[0] + asked[1]
    found = only(curves.of([run_id], ["x"], width, low=low, high=high))
    assert all(value == x * 7919 % 1013 for x, value in zip(found.xs, found.values, strict=True))
    for column in range(width):
        begin, end = (low + (high - low) * (column + more) / width for more in (0, 1))
        truth = [n * 7919 % 1013 for n in range(math.ceil(begin), min(count, math.ceil(end)))]
        near = [value for x, value in zip(found.xs, found.values, strict=True) if begin - BLOCK <= x <= end + BLOCK]
        if truth:
            assert min(near) <= min(truth) and max(near) >= max(truth)
