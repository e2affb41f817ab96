"""Registered environments, and what is built of them on this host."""

from typing import Annotated, Any

from fastapi import Query, Request

from runyard.protocol.codec import to_json
from runyard.protocol.environments import EnvironmentPruning, EnvironmentSpec
from runyard_server.api.context import services
from runyard_server.routes import Routes

router = Routes()


@router.get("/environments")
def list_environments(request: Request) -> Any:
    """The newest version of each registered environment: ``{"environments": [...]}``."""
    return {"environments": to_json(services(request).environments.list())}


@router.post("/environments")
def register(spec: EnvironmentSpec, request: Request) -> Any:
    """Registers an environment; unchanged content gives the version that is there."""
    return to_json(services(request).environments.register(spec))


@router.get("/environments/{name}")
def get(name: str, request: Request, version: str | None = None) -> Any:
    """One version, the newest by default."""
    return to_json(services(request).environments.get(name, version))


@router.get("/environments/{name}/versions")
def versions(name: str, request: Request) -> Any:
    """All versions, the oldest first: ``{"environments": [...]}``."""
    return {"environments": to_json(services(request).environments.versions(name))}


@router.post("/environment-builds")
def build(spec: EnvironmentSpec, request: Request) -> Any:
    """Begins to build an environment before a run needs it."""
    return to_json(services(request).environment_builds.start(spec))


@router.get("/environment-builds/{build_id}")
def build_status(build_id: str, request: Request, offset: Annotated[int, Query(ge=0)] = 0) -> Any:
    """How far a build is, and what it has said from character ``offset`` on."""
    return to_json(services(request).environment_builds.get(build_id, offset))


@router.get("/environment-cache")
def cached(request: Request) -> Any:
    """The environments built on this host, the last used first: ``{"environments": [...]}``."""
    return {"environments": to_json(services(request).environments.cached())}


@router.get("/environment-cache/{key}")
def cached_one(key: str, request: Request) -> Any:
    """One built environment, by its key or the beginning of it."""
    return to_json(services(request).environments.cached_one(key))


@router.post("/environment-cache/prune")
def prune(pruning: EnvironmentPruning, request: Request) -> Any:
    """Removes built environments that are not in use."""
    return to_json(services(request).environments.prune(pruning.unused_for_s, pruning.dry_run))
