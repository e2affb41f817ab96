"""Routes of compute targets."""

from typing import Any

from fastapi import Request

from runyard.protocol.codec import to_json
from runyard.protocol.compute import ComputeChanges, ComputeSpec
from runyard_server.api.context import services
from runyard_server.routes import Routes

router = Routes()


@router.get("/computes")
def list_computes(request: Request) -> Any:
    return to_json(services(request).computes.list())


@router.post("/computes")
def create(spec: ComputeSpec, request: Request) -> Any:
    return to_json(services(request).computes.create(spec))


@router.get("/computes/{name}")
def get(name: str, request: Request) -> Any:
    return to_json(services(request).computes.get(name))


@router.patch("/computes/{name}")
def update(name: str, changes: ComputeChanges, request: Request) -> Any:
    return to_json(services(request).computes.update(name, changes))


@router.delete("/computes/{name}")
def delete(name: str, request: Request) -> Any:
    services(request).computes.delete(name)
    return {}


@router.get("/computes/{name}/nodes")
def nodes(name: str, request: Request) -> Any:
    return to_json(services(request).computes.nodes(name))


@router.get("/vm_sizes")
def sizes(request: Request) -> Any:
    return to_json(services(request).computes.sizes())
