"""The files of a run: list, add, fetch one or many."""

from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, StreamingResponse

from runyard.protocol.codec import to_json
from runyard.protocol.files import Manifest, PathList
from runyard_server.api.context import services
from runyard_server.api.streams import file_response, lent, listed, pack_response
from runyard_server.routes import Routes

router = Routes()


@router.get("/runs/{run_id}/files")
def list_files(run_id: str, request: Request) -> JSONResponse:
    """The run's files, by path."""
    return JSONResponse(to_json(listed(request, services(request).files.list(run_id))))


@router.post("/runs/{run_id}/files")
def commit(run_id: str, manifest: Manifest, request: Request, overwrite: bool = False) -> Any:
    """Adds files whose objects are in the store; else the answer names the digests that lack."""
    return to_json(services(request).files.commit(run_id, manifest, overwrite))


@router.post("/runs/{run_id}/files/pack")
def pack(run_id: str, wanted: PathList, request: Request) -> StreamingResponse:
    """The named files, as a pack named by path."""
    return pack_response(services(request).files.pack(run_id, wanted.paths))


@router.post("/runs/{run_id}/files/handover")
def lend(run_id: str, wanted: PathList, request: Request) -> Any:
    """Where a process of this machine can fetch the named files opened, and their order."""
    return lent(request, services(request).files.pack(run_id, wanted.paths))


@router.get("/runs/{run_id}/given/{name}")
def list_given(run_id: str, name: str, request: Request) -> JSONResponse:
    """The files of another run that this one was given under a name."""
    return JSONResponse(to_json(services(request).given_files.list(run_id, name)))


@router.post("/runs/{run_id}/given/{name}/pack")
def pack_given(run_id: str, name: str, wanted: PathList, request: Request) -> StreamingResponse:
    """The named ones of them, as a pack named by path."""
    return pack_response(services(request).given_files.pack(run_id, name, wanted.paths))


@router.post("/runs/{run_id}/given/{name}/handover")
def lend_given(run_id: str, name: str, wanted: PathList, request: Request) -> Any:
    """Where a process of this machine can fetch the named ones opened, and their order."""
    return lent(request, services(request).given_files.pack(run_id, name, wanted.paths))


@router.get("/runs/{run_id}/files/{path:path}")
def fetch(run_id: str, path: str, request: Request) -> StreamingResponse:
    """One file, as an attachment."""
    stored = services(request).files.open(run_id, path)
    name = path.rpartition("/")[2]
    return file_response(stored.location, name, stored.entry.size, request.headers.get("range"))
