"""Registered models: register, list, look, change, delete, and their files as a pack."""

import json
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Request
from fastapi.responses import StreamingResponse
from pydantic import Field

from runyard.errors import PermissionDeniedError, UserErrorException
from runyard.protocol.codec import to_json
from runyard.protocol.files import ManifestAnswer, PathList
from runyard.protocol.models import ModelChanges, ModelRecord, ModelSpec
from runyard_server.api.context import services
from runyard_server.api.streams import lent, listed, pack_response
from runyard_server.routes import Routes
from runyard_server.services.models import ModelFilter

router = Routes()

MOST_PER_PAGE = 1000

Version = Annotated[int, Field(ge=1, le=(1 << 31) - 1)]


@router.post("/models")
def register(spec: ModelSpec, request: Request) -> Any:
    """Registers a model as the next version of its name. A job does it for its own run alone."""
    own = request.state.identity.run_id
    if own is not None:
        if spec.run_id not in (None, own):
            raise PermissionDeniedError(
                f"The token of run {own} registers models of that run alone, not of run {spec.run_id}."
            )
        spec = replace(spec, run_id=own)
    return _told(request, services(request).models.register(spec))


@router.get("/models")
def list_models(
    request: Request,
    name: str | None = None,
    version: Version | None = None,
    tags: str | None = None,
    properties: str | None = None,
    run_id: str | None = None,
    framework: str | None = None,
    latest: bool = False,
    limit: Annotated[int, Field(ge=1, le=MOST_PER_PAGE)] = 100,
    after: str | None = None,
) -> Any:
    """Models that match, newest first: ``{"models": [...], "next": mark or null}``.

    ``tags`` and ``properties`` are JSON: a list of keys and ``[key, value]`` pairs, all of which must match.
    """
    wanted = ModelFilter(
        name=name,
        version=version,
        tags=_pairs("tags", tags),
        properties=_pairs("properties", properties),
        run_id=run_id,
        framework=framework,
        latest=latest,
        limit=limit,
    )
    page = services(request).models.list(wanted, after)
    return {"models": to_json(page.models), "next": page.next}


@router.get("/models/{name}")
def newest(name: str, request: Request) -> Any:
    """The newest version of a model."""
    return _told(request, services(request).models.get(name))


@router.get("/models/{name}/{version}")
def get(name: str, version: Version, request: Request) -> Any:
    """One version of a model."""
    return _told(request, services(request).models.get(name, version))


@router.patch("/models/{name}/{version}")
def change(name: str, version: Version, changes: ModelChanges, request: Request) -> Any:
    """Tags, properties and description of one version."""
    return _told(request, services(request).models.change(name, version, changes))


@router.delete("/models/{name}/{version}")
def delete(name: str, version: Version, request: Request) -> Any:
    """Forgets one version."""
    services(request).models.delete(name, version)
    return {}


@router.post("/models/{name}/{version}/pack")
def pack(name: str, version: Version, wanted: PathList, request: Request) -> StreamingResponse:
    """The named files of one version, as a pack named by path."""
    return pack_response(services(request).models.pack(name, version, wanted.paths))


@router.post("/models/{name}/{version}/handover")
def lend(name: str, version: Version, wanted: PathList, request: Request) -> Any:
    """Where a process of this machine can fetch the named files opened, and their order."""
    return lent(request, services(request).models.pack(name, version, wanted.paths))


def _told(request: Request, answer: ModelRecord | ManifestAnswer) -> Any:
    if isinstance(answer, ModelRecord):
        answer = replace(answer, files=listed(request, answer.files))
    return to_json(answer)


def _pairs(what: str, text: str | None) -> dict[str, str | None]:
    if text is None:
        return {}
    try:
        items = json.loads(text)
        found: dict[str, str | None] = {}
        for item in items:
            key, value = (item, None) if isinstance(item, str) else item
            found[str(key)] = None if value is None else str(value)
        return found
    except (ValueError, TypeError):
        raise UserErrorException(f'{what} is JSON such as ["key", ["key", "value"]]; this is {text[:200]!r}.') from None
