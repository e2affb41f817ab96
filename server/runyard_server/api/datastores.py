"""Datastores: attach, list, change, and move files in and out."""

from dataclasses import replace
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, StreamingResponse

from runyard.protocol.codec import to_json
from runyard.protocol.datastores import DatastoreChanges, DatastoreRecord, DatastoreRegistration, UploadPlan
from runyard.protocol.files import Manifest, PathList
from runyard_server.api.context import services
from runyard_server.api.streams import content_length, invitation, lent, listed, pack_response
from runyard_server.routes import Routes

router = Routes()


@router.get("/datastores")
def list_datastores(request: Request) -> Any:
    """Every datastore, by name."""
    return [_told(record, request) for record in services(request).datastores.list()]


@router.post("/datastores")
def register(wanted: DatastoreRegistration, request: Request) -> Any:
    """Attaches a folder that the server's settings allow."""
    return _told(services(request).datastores.register(wanted), request)


@router.get("/datastores/{name}")
def get(name: str, request: Request) -> Any:
    """One datastore."""
    return _told(services(request).datastores.get(name), request)


@router.patch("/datastores/{name}")
def change(name: str, changes: DatastoreChanges, request: Request) -> Any:
    """Makes it the default."""
    datastores = services(request).datastores
    return _told(datastores.set_default(name) if changes.is_default else datastores.get(name), request)


@router.delete("/datastores/{name}")
def unregister(name: str, request: Request) -> Any:
    """Forgets it; its files stay."""
    services(request).datastores.unregister(name)
    return {}


@router.post("/datastores/{name}/plan")
def plan(name: str, offered: UploadPlan, request: Request) -> JSONResponse:
    """Which of the offered files are to be sent."""
    answer = services(request).datastores.plan_upload(
        name, offered.target_path, Manifest(offered.files), offered.overwrite
    )
    return JSONResponse(to_json(answer))


@router.post("/datastores/{name}/files")
async def receive(name: str, request: Request, target_path: str = "") -> Any:
    """Takes a pack whose entries are named ``<digest>/<path below target_path>``: ``{"kept": number}``."""
    datastores = services(request).datastores
    return {"kept": await datastores.receive(name, target_path, request.stream(), content_length(request))}


@router.post("/datastores/{name}/files/expect")
def expect(name: str, wanted: PathList, request: Request, target_path: str = "") -> Any:
    """Where a process of this machine can hand over files, and those of the named ones that are not there yet."""
    held = services(request)
    paths = list(held.datastores.absent(name, target_path, wanted.paths))
    keep = held.datastores.keeper(name, target_path, paths)
    return {**invitation(request, lambda: held.objects.expect(keep)), "paths": paths}


@router.get("/datastores/{name}/files")
def list_files(name: str, request: Request, prefix: str = "") -> JSONResponse:
    """The files whose path begins with ``prefix``."""
    return JSONResponse(to_json(listed(request, services(request).datastores.files(name, prefix))))


@router.post("/datastores/{name}/files/pack")
def pack(name: str, wanted: PathList, request: Request) -> StreamingResponse:
    """The named files, as a pack named by path."""
    return pack_response(services(request).datastores.pack(name, wanted.paths))


@router.post("/datastores/{name}/files/handover")
def lend(name: str, wanted: PathList, request: Request) -> Any:
    """Where a process of this machine can fetch the named files opened, and their order."""
    return lent(request, services(request).datastores.pack(name, wanted.paths))


def _told(record: DatastoreRecord, request: Request) -> Any:
    """A folder's place concerns only who is on the same machine."""
    near = request.client is not None and request.client.host in ("127.0.0.1", "::1")
    return to_json(record if near else replace(record, local_path=None, settings={}))
