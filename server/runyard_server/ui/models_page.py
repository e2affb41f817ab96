"""Models: all of them, the versions of one, and one version with its files and the run behind it."""

from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from runyard.errors import UnknownRunError
from runyard.protocol.runs import RunRecord
from runyard_server.services.container import Services
from runyard_server.services.models import ModelFilter
from runyard_server.ui.visits import Page, address, page, services

router = APIRouter(route_class=Page)

PAGE_ROWS = 100


@router.get("/models")
def models(request: Request, name: str = "", after: str = "") -> HTMLResponse:
    """Registered models, the newest first. ``name``: those of one name, as addresses of before have it."""
    return _listed(request, name or None, after)


@router.get("/models/{name}")
def versions(request: Request, name: str, after: str = "") -> HTMLResponse:
    """The versions of one model, the newest first."""
    services(request).models.get(name)  # an unknown one is told as such
    return _listed(request, name, after)


@router.get("/models/{name}/{version}")
def version(request: Request, name: str, version: int) -> HTMLResponse:
    """One version of a model."""
    held = services(request)
    model = held.models.get(name, version)
    newest = held.models.get(name).version
    run = _run(held, model.run_id)
    return page(request, "model.html", "models", model=model, newest=newest, run=run)


def _run(held: Services, run_id: str | None) -> RunRecord | None:
    try:
        return held.runs.get(run_id) if run_id else None
    except UnknownRunError:  # it was deleted; its id is told all the same
        return None


def _listed(request: Request, name: str | None, after: str) -> HTMLResponse:
    found = services(request).models.list(ModelFilter(name=name, limit=PAGE_ROWS), after or None)
    path = f"/models/{quote(name, safe='')}" if name else "/models"
    return page(
        request,
        "models.html",
        "models",
        models=found.models,
        name=name,
        older=address(path, after=found.next) if found.next else "",
        newest=path if after else "",
    )
