"""Routes of nodes that do not see the server's folder, and what they fetch."""

from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from runyard.errors import PermissionDeniedError
from runyard.protocol.jobs import DriverState, NodeArrival, NodeEnd
from runyard_server.api.context import services
from runyard_server.api.streams import file_response
from runyard_server.routes import Routes

router = Routes()


@router.post("/runs/{run_id}/attempts/{attempt}/nodes/{node}/begin")
def begin(run_id: str, attempt: int, node: int, arrival: NodeArrival, request: Request) -> Any:
    """Exchanges a node's ticket for its job and the run's token. Sent again with the same claim, it answers the same."""
    return JSONResponse(services(request).nodes.begin(run_id, attempt, node, arrival))


@router.get("/runs/{run_id}/attempts/{attempt}/nodes/{node}/wanted")
def wanted(run_id: str, attempt: int, node: int, request: Request) -> Any:
    """What is wanted of the node's job: "end", "kill", or nothing else ("")."""
    _check_attempt(attempt, request)
    return {"wanted": services(request).nodes.wanted(run_id, attempt, node)}


@router.post("/runs/{run_id}/attempts/{attempt}/nodes/{node}/end")
def end(run_id: str, attempt: int, node: int, said: NodeEnd, request: Request) -> Any:
    """Takes how the node's job has ended, or why it could not begin."""
    _check_attempt(attempt, request)
    services(request).nodes.end(run_id, attempt, node, said)
    return {}


@router.post("/runs/{run_id}/attempts/{attempt}/driver/begin")
def begin_driver(run_id: str, attempt: int, arrival: NodeArrival, request: Request) -> Any:
    """Exchanges the ticket of a gang's driver for what it is to do, as a node does for its job."""
    return JSONResponse(services(request).nodes.begin_driver(run_id, attempt, arrival))


@router.post("/runs/{run_id}/attempts/{attempt}/driver/state")
def driver_state(run_id: str, attempt: int, said: DriverState, request: Request) -> Any:
    """Takes what a gang's driver says: what it waits for, that it begins, which nodes were lost. It hears whether to go on.

    The one node of a run has no other driver: it says here that it is about to be taken away.
    """
    _check_attempt(attempt, request)
    return {"goes_on": services(request).nodes.hear_driver(run_id, attempt, said)}


@router.get("/job-archive/{digest}")
def archive(digest: str, request: Request) -> Response:
    """The SDK that jobs bring along, as one archive (zip) with that SHA-256."""
    return Response(services(request).nodes.archive.read(digest), media_type="application/zip")


@router.get("/job-tools/uv")
def uv(request: Request) -> StreamingResponse:
    """The server's uv, for nodes that have none."""
    path = services(request).nodes.archive.uv()
    return file_response(path, "uv", path.stat().st_size)


@router.get("/job-wheels/{digest}")
def wheel(digest: str, request: Request) -> StreamingResponse:
    """A wheel that the server has compiled for an environment (Horovod), with that SHA-256."""
    path = services(request).nodes.archive.wheel(digest)
    return file_response(path, path.name, path.stat().st_size)


def _check_attempt(attempt: int, request: Request) -> None:
    """The guard has checked the run; a run's token speaks for one attempt of it."""
    lease = request.state.identity.lease
    if lease is None or lease.attempt != attempt:
        raise PermissionDeniedError("A run's token is good for its own attempt alone.")
