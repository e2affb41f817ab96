"""Routes of the pages: HTML made by the server, readable before any script runs. Every view is a link."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from runyard.protocol.runs import RunRecord
from runyard.protocol.status import RunStatus
from runyard_server.domain.clock import SystemClock
from runyard_server.services.models import ModelFilter
from runyard_server.services.runs import RunFilter
from runyard_server.ui import compare_page, run_page, runs_page
from runyard_server.ui.rendering import HEADERS, notice, render
from runyard_server.ui.visits import Page, services, workspace_name

PAGE_ROWS = 100

router = APIRouter(route_class=Page)
_clock = SystemClock()
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def install(app: FastAPI) -> None:
    """Adds the pages to the application."""
    app.router.routes.extend(router.routes)


@router.get("/")
def start() -> Response:
    """The first page is the newest runs."""
    return RedirectResponse("/runs", 303, HEADERS)


@router.get("/runs")
def runs(
    request: Request,
    filter: str = "",
    experiment: str = "",
    status: str = "",
    sort: str = "",
    column: Annotated[list[str] | None, Query()] = None,
    after: str = "",
) -> HTMLResponse:
    """The table of runs; everything that is chosen of it is in its address."""
    held = services(request)
    asked = runs_page.Asked(filter.strip(), experiment, status, sort, tuple(column or ()), after)
    return _page(
        request,
        "runs.html",
        "runs",
        view=runs_page.look(held, asked),
        asked=asked,
        experiment=experiment,
        statuses=[known.value for known in RunStatus if known is not RunStatus.NOT_STARTED],
        experiments=sorted(record.name for record in held.experiments.list("all")),
    )


@router.get("/compare")
def compare(request: Request, run: Annotated[list[str] | None, Query()] = None, charts: str = "") -> HTMLResponse:
    """Several runs side by side. ``charts=all``: every curve."""
    view = compare_page.look(services(request), list(dict.fromkeys(run or ())), _clock.now(), charts == "all")
    return _page(request, "compare.html", "runs", view=view)


@router.get("/runs/{run_id}")
def run(request: Request, run_id: str, log: str = "", charts: str = "") -> HTMLResponse:
    """One run. ``log``: the log to show; ``charts=all``: every chart."""
    held = services(request)
    view = run_page.look(held, run_id, _clock.now(), charts == "all")
    shown = run_page.log(held, run_id, log or None)
    return _page(
        request,
        "run.html",
        "runs",
        view=view,
        log=shown,
        log_names=shown.names,
        shown_log=shown.name or "",
        charts=charts,
        live_address=_address(f"/runs/{quote(run_id, safe='')}/live", {"log": log, "charts": charts}),
    )


@router.get("/runs/{run_id}/live")
def live(request: Request, run_id: str, log: str = "", charts: str = "") -> HTMLResponse:
    """The parts of a run's page that change while it lives, for the page's script to take over."""
    held = services(request)
    view = run_page.look(held, run_id, _clock.now(), charts == "all")
    names = held.reading.list(run_id)
    shown = log or run_page.usual_log([name for name, _ in names])
    return _page(request, "run_live.html", "runs", view=view, log_names=names, shown_log=shown, charts=charts)


@dataclass(frozen=True)
class ExperimentRow:
    """An experiment with its newest run."""

    name: str
    created_at: float
    archived: bool
    newest: RunRecord | None


@router.get("/experiments")
def experiments(request: Request) -> HTMLResponse:
    """All experiments, the newest first."""
    held = services(request)
    rows: list[ExperimentRow] = []
    for record in reversed(held.experiments.list("all")):
        newest = held.runs.list(RunFilter(experiment=record.name, limit=1)) if len(rows) < PAGE_ROWS else ()
        archived = record.archived_at is not None
        rows.append(ExperimentRow(record.name, record.created_at, archived, newest[0] if newest else None))
    return _page(request, "experiments.html", "experiments", experiments=rows)


@router.get("/models")
def models(request: Request, name: str = "", after: str = "") -> HTMLResponse:
    """Registered models, the newest first; ``name`` shows the versions of one."""
    found = services(request).models.list(ModelFilter(name=name or None, limit=PAGE_ROWS), after or None)
    filters = {"name": name}
    return _page(
        request,
        "models.html",
        "models",
        models=found.models,
        name=name,
        older=_address("/models", filters, after=found.next) if found.next else "",
        newest=_address("/models", filters) if after else "",
    )


@router.get("/compute")
def compute(request: Request) -> HTMLResponse:
    """Compute targets, and which runs have their nodes."""
    held = services(request)
    targets = [(target, held.computes.nodes(target.spec.name)) for target in held.computes.list()]
    return _page(request, "compute.html", "compute", targets=targets)


@router.get("/static/{name}")
def static(request: Request, name: str) -> Response:
    """A style sheet, script or picture of the pages."""
    found = _STATIC.get(name)
    if found is None:
        return notice(404, "Nothing here by that name", f"There is no file {name!r}.")
    content, media_type, tag = found
    headers = {"ETag": tag, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


@router.get("/{page}")
def unknown(request: Request, page: str) -> HTMLResponse:
    """An address that leads nowhere."""
    return notice(404, "Nothing here by that name", f"There is no page {page!r}.", workspace=workspace_name(request))


def _page(request: Request, template: str, section: str, **values: Any) -> HTMLResponse:
    """A page inside the frame of all; ``section`` is the entry of the menu that it belongs to."""
    return render(template, {**values, "workspace": workspace_name(request), "section": section, "now": _clock.now()})


def _address(path: str, filters: dict[str, str], **more: str) -> str:
    query = urlencode({key: value for key, value in {**filters, **more}.items() if value})
    return f"{path}?{query}" if query else path


def _static_files() -> dict[str, tuple[bytes, str, str]]:
    """Content, media type and tag of each file by name. Nothing else can be asked for."""
    found = {}
    for path in (Path(__file__).parent / "static").iterdir():
        content = path.read_bytes()
        found[path.name] = (content, _TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:16]}"')
    return found


_STATIC = _static_files()
