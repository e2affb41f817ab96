"""Routes of the workspace itself and of the server's health."""

from typing import Any

from fastapi import Request

from runyard.protocol.version import PROTOCOL, VERSION
from runyard_server.api.context import services
from runyard_server.routes import Routes

router = Routes()


@router.get("/health")
def health(request: Request) -> Any:
    """Tells that this server lives, which one it is and what it speaks; nothing that needs a token."""
    return {"ok": True, "instance": services(request).instance, "protocol": PROTOCOL, "version": VERSION}


@router.get("/workspace")
def get(request: Request) -> Any:
    """The workspace's identity and settings."""
    return services(request).workspace.get()


@router.patch("/workspace")
def change(changes: dict[str, Any], request: Request) -> Any:
    """Sets what people call it."""
    return services(request).workspace.change(changes)
