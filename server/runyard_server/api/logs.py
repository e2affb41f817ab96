"""Routes of logs: bytes in, bytes out."""

from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from runyard_server.api.bodies import whole_body
from runyard_server.api.context import services
from runyard_server.routes import Routes

router = Routes()

MOST_BYTES = 8 << 20

Offset = Annotated[int, Query(ge=0, le=(1 << 63) - 1)]


@router.put("/runs/{run_id}/logs/{name:path}")
async def append(run_id: str, name: str, request: Request, offset: Offset) -> dict[str, int | float]:
    """Bytes that begin at ``offset`` of the log; answers the log's stored size.

    ``rest_s``: for how long nobody misses the next ones.
    """
    held, body = services(request), await whole_body(request)
    size = await run_in_threadpool(held.logs.append, run_id, name, offset, body)
    return {"size": size, "rest_s": held.pace.log_rest_s(run_id)}


@router.get("/runs/{run_id}/logs")
def list_logs(run_id: str, request: Request) -> list[dict[str, Any]]:
    """Names and sizes of the run's logs, while it lives and after."""
    held = services(request)
    held.logs.check_run(run_id)  # a run that is not there has no empty list of logs
    return [{"name": name, "size": size} for name, size in held.reading.list(run_id)]


@router.get("/runs/{run_id}/logs/{name:path}")
def read(
    run_id: str,
    name: str,
    request: Request,
    offset: Offset = 0,
    limit: Annotated[int, Query(ge=0)] = MOST_BYTES,
) -> Response:
    """The log's bytes from ``offset``, at most 8 MiB at once; what a script wrote is never taken for a page."""
    body = services(request).reading.read(run_id, name, offset, min(limit, MOST_BYTES))
    return Response(body, media_type="text/plain; charset=utf-8", headers={"X-Content-Type-Options": "nosniff"})
