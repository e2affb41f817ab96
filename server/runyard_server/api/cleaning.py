"""The route of clean-ups."""

from typing import Any

from fastapi import APIRouter, Request

from runyard.protocol.cleaning import CleaningRequest
from runyard.protocol.codec import to_json
from runyard_server.api.context import services

router = APIRouter()


@router.post("/cleaning")
def clean(asked: CleaningRequest, request: Request) -> Any:
    """Removes from the store what no run, model or snapshot needs, or counts it."""
    return to_json(services(request).cleaning.clean(asked.grace_s, asked.dry_run))
