"""The route of clean-ups."""

from typing import Any

from fastapi import Request

from runyard.protocol.cleaning import CleaningRequest
from runyard.protocol.codec import to_json
from runyard_server.api.context import services
from runyard_server.routes import Routes

router = Routes()


@router.post("/cleaning")
def clean(asked: CleaningRequest, request: Request) -> Any:
    """Removes from the store what no run, model or snapshot needs, or counts it."""
    return to_json(services(request).cleaning.clean(asked.grace_s, asked.dry_run))
