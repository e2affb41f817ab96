"""How often jobs are to come: at once to whoever looks, with more at a time where nobody does."""

import asyncio

from runyard_server.services.hub import Hub
from runyard_server.services.pace import MEASURED_S, SEEN_AT_MOST_S, UNSEEN_S, Pace


def rests(hub: Hub, pace: Pace, run_id: str, watches: bool) -> tuple[float, float]:
    """The rests of a log and of metrics while somebody follows the run."""

    async def follow() -> tuple[float, float]:
        with hub.following(run_id, watches):
            return pace.log_rest_s(run_id), pace.metrics_rest_s(run_id)

    return asyncio.run(follow())


def test_what_nobody_looks_at_comes_with_more_at_a_time() -> None:
    hub = Hub()
    pace = Pace(hub, lambda: 0.0)
    assert (pace.log_rest_s("r"), pace.metrics_rest_s("r")) == (UNSEEN_S, UNSEEN_S)
    assert rests(hub, pace, "r", watches=False) == (UNSEEN_S, UNSEEN_S)  # who waits for the end sees no line


def test_a_line_that_somebody_waits_for_comes_at_once_and_in_a_crowd_within_a_quarter_of_a_second() -> None:
    hub = Hub()
    pace = Pace(hub, lambda: 0.0)
    assert rests(hub, pace, "r", watches=True) == (0.01, MEASURED_S)
    for number in range(100):
        pace.log_rest_s(f"run {number}")
    assert rests(hub, pace, "r", watches=True) == (SEEN_AT_MOST_S, MEASURED_S)
    assert pace.log_rest_s("another") == UNSEEN_S


def test_runs_that_write_no_more_are_no_crowd() -> None:
    hub, now = Hub(), [0.0]
    pace = Pace(hub, lambda: now[0])
    for number in range(100):
        pace.log_rest_s(f"run {number}")
    now[0] = 60.0
    assert rests(hub, pace, "r", watches=True)[0] == 0.01
