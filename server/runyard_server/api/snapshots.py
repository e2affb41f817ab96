"""Snapshots: make one of a manifest, look at it, fetch its tree."""

from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, StreamingResponse

from runyard.protocol.codec import to_json
from runyard.protocol.files import Manifest
from runyard_server.api.context import services
from runyard_server.api.streams import pack_response
from runyard_server.routes import Routes

router = Routes()


@router.post("/snapshots")
def create(manifest: Manifest, request: Request) -> Any:
    """The snapshot's id, or the digests that the store lacks for it."""
    return to_json(services(request).snapshots.create(manifest))


@router.get("/snapshots/{snapshot_id}")
def get(snapshot_id: str, request: Request) -> JSONResponse:
    """The snapshot's manifest."""
    return JSONResponse(to_json(services(request).snapshots.get(snapshot_id)))


@router.get("/snapshots/{snapshot_id}/pack")
def pack(snapshot_id: str, request: Request) -> StreamingResponse:
    """The whole tree: the manifest first, then each content once, named by digest."""
    return pack_response(services(request).snapshots.pack(snapshot_id))
