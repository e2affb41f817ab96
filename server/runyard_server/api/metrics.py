"""Routes of metrics. Answers are JSON as Python's json writes and reads it: NaN and Infinity come as such."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from runyard_server.api.bodies import whole_body
from runyard_server.api.context import services

router = APIRouter()


@router.post("/runs/{run_id}/metrics")
async def take(
    run_id: str, request: Request, writer: str, offset: Annotated[int, Query(ge=0, le=(1 << 63) - 1)]
) -> dict[str, int]:
    """Spool lines that begin at ``offset`` of the writer's stream; answers the stream's stored size."""
    body = await whole_body(request)
    return {"size": await run_in_threadpool(services(request).metrics.take, run_id, writer, offset, body)}


@router.get("/runs/{run_id}/metrics")
def get(
    run_id: str, request: Request, name: str | None = None, recursive: bool = False, run_type: str | None = None
) -> Response:
    """``{"metrics", "warnings"}`` in the shapes of Azure's ``get_metrics``."""
    return _json(services(request).metrics.get(run_id, name, recursive, run_type))


@router.get("/runs/{run_id}/metrics/history")
def history(run_id: str, request: Request, name: str, max_points: int | None = None) -> Response:
    """One metric as a curve: ``{"name", "type", "count", "steps", "times", "values"}``."""
    return _json(services(request).metrics.history(run_id, name, max_points))


def _json(value: Any) -> Response:
    return Response(json.dumps(value, separators=(",", ":")), media_type="application/json")
