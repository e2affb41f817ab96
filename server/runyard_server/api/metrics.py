"""Routes of metrics. Answers are JSON as Python's json writes and reads it: NaN and Infinity come as such."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from runyard.protocol.codec import to_json
from runyard_server.api.bodies import whole_body
from runyard_server.api.context import services
from runyard_server.domain.metric_curves import STEP
from runyard_server.routes import Routes
from runyard_server.services.exhibits import MOST
from runyard_server.services.metrics import PAGE, Wanted

router = Routes()

_WORDS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


@router.post("/runs/{run_id}/metrics")
async def take(
    run_id: str, request: Request, writer: str, offset: Annotated[int, Query(ge=0, le=(1 << 63) - 1)]
) -> dict[str, int | float]:
    """Spool lines that begin at ``offset`` of the writer's stream; answers the stream's stored size.

    ``rest_s``: for how long nobody misses the next ones.
    """
    held, body = services(request), await whole_body(request)
    size = await run_in_threadpool(held.metrics.take, run_id, writer, offset, body)
    return {"size": size, "rest_s": held.pace.metrics_rest_s(run_id)}


@router.get("/runs/{run_id}/metrics")
def get(
    run_id: str, request: Request, name: str | None = None, recursive: bool = False, run_type: str | None = None
) -> Response:
    """``{"metrics", "warnings"}`` in the shapes of Azure's ``get_metrics``."""
    return _json(services(request).metrics.get(run_id, name, recursive, run_type))


@router.get("/runs/{run_id}/metrics/history")
def history(run_id: str, request: Request, name: str) -> Response:
    """All numbers of one metric: ``{"name", "type", "count", "steps", "times", "values"}``."""
    return _json(services(request).metrics.history(run_id, name))


@router.get("/runs/{run_id}/metrics/summaries")
def summaries(
    run_id: str,
    request: Request,
    search: str = "",
    drawable: bool = False,
    system: bool = False,
    after: str | None = None,
    limit: int = PAGE,
) -> Response:
    """Metrics at a glance, by name: ``{"metrics", "count", "next"}``; ``next`` is what the next page comes after.

    ``drawable``: only numbers that were logged more than once. ``system``: what was measured of the nodes.
    """
    found = services(request).metrics.page(run_id, Wanted(search, drawable, system), after, limit)
    rows = [
        {
            "name": one.name,
            "type": one.type,
            "description": one.description,
            "glance": found.glances.get(one.name),
            **asdict(one.summary),
        }
        for one in found.metrics
    ]
    return _json({"metrics": rows, "count": found.count, "next": found.next})


@router.get("/runs/{run_id}/metrics/exhibits")
def exhibits(
    run_id: str, request: Request, search: str = "", limit: Annotated[int, Query(ge=1, le=MOST)] = MOST
) -> Response:
    """What was logged and is no number, as it is shown, by name; see ``protocol/exhibits.py``."""
    return _json(to_json(services(request).exhibits.of(run_id, search, limit)))


@router.get("/metrics/curves")
def curves(
    request: Request,
    run: Annotated[list[str], Query()],
    name: Annotated[list[str], Query()],
    width: int,
    axis: str = STEP,
    low: Annotated[float | None, Query(alias="from")] = None,
    high: Annotated[float | None, Query(alias="to")] = None,
) -> Response:
    """Metrics of runs as they are drawn on ``width`` pixels: ``{"curves": [{"run_id", "name", "axis", "count", "xs",
    "values"}]}``. This is JSON for browsers too: what is no finite number is the text "NaN", "Infinity" or "-Infinity".
    """
    found = services(request).curves.of(run, name, width, axis, low, high)
    keys = ("run_id", "name", "axis", "count", "xs")
    return _json(
        {"curves": [{**{key: getattr(one, key) for key in keys}, "values": _told(one.values)} for one in found]}
    )


def _told(values: Sequence[float]) -> list[float | str]:
    return [value if math.isfinite(value) else _WORDS[str(value)] for value in values]


def _json(value: Any) -> Response:
    return Response(json.dumps(value, separators=(",", ":")), media_type="application/json")
