"""MLflow's search of runs: its filter and its order, told to the records in our words."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fastapi import Request

from runyard_server.api.context import services
from runyard_server.api.mlflow import words
from runyard_server.api.mlflow.experiments import find_all
from runyard_server.api.mlflow.failures import invalid
from runyard_server.api.mlflow.paging import size_of, start_of, with_token
from runyard_server.api.mlflow.runs import whole
from runyard_server.domain import dataset_inputs, run_arguments
from runyard_server.domain.mlflow_filter import (
    ATTRIBUTE,
    DATASET,
    METRIC,
    PARAMETER,
    TAG,
    Comparison,
    FilterError,
    parse,
    parse_order,
)
from runyard_server.routes import Routes
from runyard_server.services.runs import COLUMN, PROPERTY, STATUS, RunOrder, RunSearch

router = Routes("/api/2.0")

MOST = 50_000  # runs on one page
MOST_EXPERIMENTS = 10_000
MOST_ORDERS = 20
LONGEST_VALUE = 8000  # characters that a filter compares with

# Kinds and keys of the records.
_ATTRIBUTES = {
    **dict.fromkeys(("run_id", "run_uuid"), (COLUMN, "id")),
    **dict.fromkeys(("run_name", "run name", "Run name", "Run Name"), (COLUMN, "name")),
    **dict.fromkeys(("start_time", "created", "Created"), (COLUMN, "started_at")),
    "end_time": (COLUMN, "ended_at"),
    "status": (STATUS, "status"),
    "user_id": (TAG, words.USER),
}
_TAGS = {words.RUN_NAME: "name", words.PARENT: "parent_id", words.NOTE: "description"}
_TIMES = frozenset({"started_at", "ended_at"})
_NUMERIC = frozenset({"=", "!=", "<", "<=", ">", ">="})
_TEXTUAL = frozenset({"=", "!=", "LIKE", "ILIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL"})
_VIEWS = {"ACTIVE_ONLY": False, "DELETED_ONLY": True, "ALL": None}


@dataclass(frozen=True)
class SearchRuns:
    experiment_ids: list[str] = field(default_factory=list)
    filter: str | None = None
    run_view_type: str | None = None
    max_results: int | None = None
    order_by: list[str] | None = None
    page_token: str | None = None


@router.post("/mlflow/runs/search")
def search(said: SearchRuns, request: Request) -> Any:
    """Runs that match, a page of them, each with the last point of each of its metrics."""
    size = size_of(said.max_results, 1000, MOST)
    view = said.run_view_type or "ACTIVE_ONLY"
    if view not in _VIEWS:
        raise invalid(f"Invalid value {view[:50]!r} for parameter 'run_view_type' supplied: {', '.join(_VIEWS)}.")
    if len(said.experiment_ids) > MOST_EXPERIMENTS or len(said.order_by or ()) > MOST_ORDERS:
        raise invalid(f"At most {MOST_EXPERIMENTS:,} experiments and {MOST_ORDERS} orders are taken at once.")
    try:
        wanted = [told(one) for one in parse(said.filter)]
        orders = [order(text) for text in said.order_by or ()]
    except FilterError as fault:
        raise invalid(str(fault)) from None
    start = start_of(said.page_token)
    experiments = find_all(request, said.experiment_ids)
    found = services(request).runs.search(
        RunSearch(
            experiment_ids=[record.id for record in experiments],
            wanted=wanted,
            orders=orders,
            but_type=words.LOGGED_MODEL,
            archived=_VIEWS[view],
            limit=size + 1,
            offset=start,
        )
    )
    more = str(start + size) if len(found) > size else None
    return with_token({"runs": whole(request, found[:size])}, more)


def told(one: Comparison) -> Comparison:
    """A comparison in the words of the records. Raises FilterError where MLflow has none such."""
    if one.kind == DATASET:
        return _of_dataset(one)
    kind, key = named(one.kind, one.key)
    known = checked(one, kind, key, is_time=kind == COLUMN and key in _TIMES)
    return _of_status(one) if kind == STATUS else known


def _of_dataset(one: Comparison) -> Comparison:
    """What one of a run's data sets must have."""
    if one.key not in dataset_inputs.ATTRIBUTES:
        raise FilterError(
            f"Invalid dataset key {one.key[:100]!r} specified. Valid keys are {', '.join(dataset_inputs.ATTRIBUTES)}."
        )
    if one.sign in ("IS NULL", "IS NOT NULL"):
        raise FilterError(f"A dataset's {one.key} is compared with =, !=, LIKE, ILIKE, IN or NOT IN.")
    return checked(one, DATASET, one.key, is_time=False)


def checked(one: Comparison, kind: str, key: str, is_time: bool) -> Comparison:
    """A comparison of what is ``kind`` and ``key`` in the records. Raises FilterError where it cannot be made."""
    if kind == METRIC or is_time:
        if one.sign not in _NUMERIC or isinstance(one.value, str):
            raise FilterError(
                f"Expected numeric value type for {one.kind} {one.key[:100]!r}, compared with =, !=, <, ..."
            )
        assert isinstance(one.value, int | float)
        return Comparison(kind, key, one.sign, one.value / 1000 if is_time else float(one.value))
    if one.sign not in _TEXTUAL or isinstance(one.value, int | float):
        raise FilterError(
            f"Expected a quoted string value for {one.kind} {one.key[:100]!r}, compared with {', '.join(sorted(_TEXTUAL))}."
        )
    if sum(len(text) for text in one.value or ()) > LONGEST_VALUE:
        raise FilterError(f"A value in a filter has at most {LONGEST_VALUE:,} characters.")
    return replace(one, kind=kind, key=key)


def named(kind: str, key: str) -> tuple[str, str]:
    """What a kind and a key of MLflow's are in the records. Raises FilterError."""
    if kind == DATASET:
        raise FilterError("By datasets runs are searched, and neither logged models nor anything sorted.")
    if kind == ATTRIBUTE:
        if key not in _ATTRIBUTES:
            raise FilterError(
                f"Invalid attribute key {key[:100]!r} specified. Valid keys are {', '.join(_ATTRIBUTES)}."
            )
        return _ATTRIBUTES[key]
    if kind != METRIC and ('"' in key or "\\" in key):
        raise FilterError(f"The name {key[:100]!r} cannot be searched for: it has a quote or a backslash.")
    if kind == PARAMETER:
        return PROPERTY, run_arguments.PARAMETER + key
    if kind == TAG and key in _TAGS:
        return COLUMN, _TAGS[key]
    return kind, key


def _of_status(one: Comparison) -> Comparison:
    asked: Sequence[str] = one.value if isinstance(one.value, tuple) else (str(one.value),)
    statuses = tuple(status.value for status, word in words.STATUS.items() if word in {text.upper() for text in asked})
    return Comparison(STATUS, "status", membership(one.sign), statuses)


def membership(sign: str) -> str:
    """By which sign one of several statuses is asked for. Raises FilterError."""
    if sign not in ("=", "!=", "IN", "NOT IN"):
        raise FilterError("A status is compared with =, !=, IN or NOT IN.")
    return "IN" if sign in ("=", "IN") else "NOT IN"


def order(text: str) -> RunOrder:
    """One part of an order, in the words of the records. Raises FilterError."""
    kind, key, ascends = parse_order(text)
    kind, key = named(kind, key)
    return RunOrder(kind, key, ascends)
