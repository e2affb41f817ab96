"""MLflow's routes of what was logged under a metric: the history of one run, and of many runs at once."""

from collections.abc import Collection, Sequence
from typing import Annotated, Any, NotRequired

from fastapi import Query, Request
from typing_extensions import TypedDict

from runyard_server.api.context import services
from runyard_server.api.mlflow import words
from runyard_server.api.mlflow.failures import PAGES, invalid, missing
from runyard_server.api.mlflow.paging import page, with_token
from runyard_server.api.mlflow.runs import find
from runyard_server.domain.metric_chunks import Points
from runyard_server.routes import Routes

router = Routes("/api/2.0")
of_pages = Routes(f"{PAGES}2.0")

MOST_RUNS = 100  # whose histories are asked for at once
MOST_POINTS = 25_000  # of all of them
MOST_STEPS, MOST_OF_RUN = 2500, 5000  # steps at intervals, and points of each run at these
MOST_ON_PAGE = 50_000  # points of one history


class MetricOfRun(words.Metric):
    run_id: str


class History(TypedDict):
    metrics: list[words.Metric]
    next_page_token: NotRequired[str]


class Histories(TypedDict):
    metrics: list[MetricOfRun]


@router.get("/mlflow/metrics/get-history")
def history(
    request: Request,
    metric_key: str | None = None,
    run_id: str | None = None,
    run_uuid: str | None = None,
    max_results: int | None = None,
    page_token: str | None = None,
) -> Any:
    """All numbers of one metric, in pages if these are asked for."""
    record = find(request, run_id, run_uuid)
    if not metric_key:
        raise missing("metric_key")
    if max_results is not None and max_results <= 0:
        raise invalid(
            f"Invalid value {max_results} for parameter 'max_results' supplied. It must be a positive integer."
        )
    points = services(request).metrics.numbers(record.id, metric_key)
    if max_results is None and page_token is None:
        return {"metrics": words.metrics(metric_key, points)}
    places, token = page(range(len(points.values)), min(max_results or MOST_ON_PAGE, MOST_ON_PAGE), page_token)
    return with_token({"metrics": words.metrics(metric_key, _cut(points, places))}, token)


@of_pages.get("/mlflow/metrics/get-history-bulk")
def histories(
    request: Request,
    run_id: Annotated[list[str] | None, Query()] = None,
    metric_key: str | None = None,
    max_results: int | None = None,
) -> Any:
    """One metric of several runs: the first points of all of them, run by run in the order of their ids."""
    if not run_id:
        raise invalid("GetMetricHistoryBulk request must specify at least one run_id.")
    if len(run_id) > MOST_RUNS:
        raise invalid(
            f"GetMetricHistoryBulk request cannot specify more than {MOST_RUNS} run_ids. Received {len(run_id)} run_ids."
        )
    if metric_key is None:
        raise invalid("GetMetricHistoryBulk request must specify a metric_key.")
    if max_results is not None and max_results < 1:
        raise invalid("max_results must be a positive integer.")
    most = min(max_results or MOST_POINTS, MOST_POINTS)
    records = [find(request, one) for one in sorted(set(run_id))]
    found: list[MetricOfRun] = []
    for record in records:
        points = services(request).metrics.numbers(record.id, metric_key)
        places = sorted(range(len(points.values)), key=lambda place: _in_time(points, place))
        found += _of_run(record.id, metric_key, _cut(points, places[: most - len(found)]))
        if len(found) == most:
            break
    return {"metrics": found}


@router.get("/mlflow/metrics/get-history-bulk-interval")
def histories_at_intervals(
    request: Request,
    run_ids: Annotated[list[str] | None, Query()] = None,
    metric_key: str | None = None,
    start_step: int | None = None,
    end_step: int | None = None,
    max_results: int | None = None,
) -> Any:
    """One metric of several runs between two steps, at so many of the steps, the same ones for all of the runs."""
    if not run_ids:
        raise missing("run_ids")
    if len(run_ids) > MOST_RUNS:
        raise invalid(
            f"GetMetricHistoryBulkInterval request must specify at most {MOST_RUNS} run_ids. Received {len(run_ids)} "
            "run_ids."
        )
    if not metric_key:
        raise missing("metric_key")
    most = MOST_STEPS if max_results is None else max_results
    if not 1 <= most <= MOST_STEPS:
        raise invalid(f"max_results must be between 1 and {MOST_STEPS}.")
    if (start_step is None) != (end_step is None):
        raise invalid("If either start step or end step are specified, both must be specified.")
    if start_step is not None and end_step is not None and start_step > end_step:
        raise invalid(
            f"end_step must be greater than start_step. Found start_step={start_step} and end_step={end_step}."
        )
    held = services(request).metrics
    ids = [find(request, one).id for one in dict.fromkeys(run_ids)]
    # Read twice: the points of all runs at once may be more than there is memory for.
    every, ends = set[int](), set[int]()
    for run_id in ids:
        steps = {step or 0 for step in held.numbers(run_id, metric_key).steps}
        every |= steps
        ends |= {min(steps), max(steps)} if steps else set()
    shown = steps_at_intervals(every, ends, start_step, end_step, most)
    found: list[MetricOfRun] = []
    for run_id in ids:
        points = held.numbers(run_id, metric_key)
        places = [place for place, step in enumerate(points.steps) if (step or 0) in shown]
        places.sort(key=lambda place: (points.steps[place] or 0, points.times[place]))
        found += _of_run(run_id, metric_key, _cut(points, places[:MOST_OF_RUN]))
    return {"metrics": found}


def steps_at_intervals(
    every: Collection[int], ends: Collection[int], start: int | None, end: int | None, most: int
) -> set[int]:
    """Which steps are shown, as MLflow chooses them.

    Args:
        every: the steps of all runs; ``most`` of those between two steps are shown.
        ends: the first and the last step of each run, which are shown too.
    """
    within = sorted(step for step in every if (start is None or start <= step) and (end is None or step <= end))
    if len(within) <= most:
        return set(within)
    shown = {within[number * len(within) // most] for number in range(most)}
    return shown | {within[-1]} | {step for step in ends if within[0] <= step <= within[-1]}


def _in_time(points: Points, place: int) -> tuple[float, int, float]:
    return points.times[place], points.steps[place] or 0, points.values[place]


def _of_run(run_id: str, metric_key: str, points: Points) -> list[MetricOfRun]:
    return [MetricOfRun(**one, run_id=run_id) for one in words.metrics(metric_key, points)]


def _cut(points: Points, places: Sequence[int]) -> Points:
    return Points(
        [points.steps[place] for place in places],
        [points.times[place] for place in places],
        [points.values[place] for place in places],
    )
