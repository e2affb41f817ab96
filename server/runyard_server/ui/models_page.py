"""Models: all of them, the versions of one, and one version with its files and the run behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse

from runyard.errors import UnknownRunError
from runyard.protocol.models import ModelRecord
from runyard.protocol.runs import RunRecord
from runyard_server.domain.model_stages import NO_STAGE, STAGE, stage_of
from runyard_server.routes import Routes
from runyard_server.services.container import Services
from runyard_server.services.models import ModelFilter
from runyard_server.ui.visits import Page, address, page, services

router = Routes(route_class=Page)

PAGE_ROWS = 100
MLFLOW_MODEL = "MLmodel"  # the file by which MLflow knows what it can load


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
    standing = _standing(held, [model])[0]
    mlflow = any(file.path == f"{model.root}/{MLFLOW_MODEL}" for file in model.files)
    return page(request, "model.html", "models", model=model, newest=newest, run=run, standing=standing, mlflow=mlflow)


@dataclass(frozen=True)
class Standing:
    """What people call a version besides its number: its aliases, and its stage ("" for none). ``tags`` are the others."""

    aliases: Sequence[str]
    stage: str
    tags: Mapping[str, str]

    def __bool__(self) -> bool:
        return bool(self.aliases or self.stage)


def _standing(held: Services, models: Sequence[ModelRecord]) -> list[Standing]:
    aliases = held.model_names.aliases({model.name for model in models})
    found = []
    for model in models:
        stage = stage_of(model.tags)
        tags = {key: value for key, value in model.tags.items() if key != STAGE}
        found.append(Standing(aliases.get((model.name, model.version), ()), "" if stage == NO_STAGE else stage, tags))
    return found


def _run(held: Services, run_id: str | None) -> RunRecord | None:
    try:
        return held.runs.get(run_id) if run_id else None
    except UnknownRunError:  # it was deleted; its id is told all the same
        return None


def _listed(request: Request, name: str | None, after: str) -> HTMLResponse:
    found = services(request).models.list(ModelFilter(name=name, limit=PAGE_ROWS), after or None)
    standing = _standing(services(request), found.models)
    path = f"/models/{quote(name, safe='')}" if name else "/models"
    return page(
        request,
        "models.html",
        "models",
        models=list(zip(found.models, standing, strict=True)),
        any_stands=any(standing),
        name=name,
        older=address(path, after=found.next) if found.next else "",
        newest=path if after else "",
    )
