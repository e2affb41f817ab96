"""Objects by digest: which lack, a pack of them in, and open files of a process on this machine."""

from typing import Any

from fastapi import Request

from runyard_server.api.context import services
from runyard_server.api.streams import content_length, invitation
from runyard_server.routes import Routes

router = Routes()


@router.post("/objects/missing")
def missing(digests: list[str], request: Request) -> Any:
    """``{"missing": [...]}``: those of the digests that the store lacks."""
    return {"missing": list(services(request).objects.missing(digests))}


@router.post("/objects")
async def receive(request: Request) -> Any:
    """Takes a pack of objects named by digest: ``{"kept": number}``."""
    return {"kept": await services(request).objects.receive(request.stream(), content_length(request))}


@router.post("/objects/handover")
def expect(request: Request) -> Any:
    """Where open files may be handed over, and with which ticket: ``{"socket", "ticket"}``, null for who is far away."""
    return invitation(request, services(request).objects.expect)
