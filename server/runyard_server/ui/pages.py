"""Routes of the pages: HTML made by the server, readable before any script runs. Every view is a link."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, urlencode

from fastapi import FastAPI, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from runyard.errors import UserErrorException
from runyard.protocol.runs import RunRecord
from runyard.protocol.status import RunStatus
from runyard_server.routes import Routes
from runyard_server.services.experiments import Tally
from runyard_server.services.runs import RunFilter
from runyard_server.ui import (
    actions,
    chart_settings,
    charts,
    code_page,
    compare_page,
    compute_page,
    files_page,
    log_page,
    marked_page,
    models_page,
    retention_page,
    run_page,
    runs_page,
    settings_page,
    words,
)
from runyard_server.ui.rendering import HEADERS, notice
from runyard_server.ui.visits import Page, acts, address, clock, page, services, workspace_name

PAGE_ROWS = 100

router = Routes(route_class=Page)
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def install(app: FastAPI) -> None:
    """Adds the pages to the application."""
    for each in (
        actions.router,
        marked_page.router,
        code_page.router,
        log_page.router,
        files_page.router,
        models_page.router,
        compute_page.router,
        settings_page.router,
        retention_page.router,
        router,
    ):  # the last one takes whatever is left
        app.router.routes.extend(each.routes)


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
    view: Literal["active", "archived", "all"] = "active",
) -> HTMLResponse:
    """The table of runs; everything that is chosen of it is in its address."""
    held = services(request)
    asked = runs_page.Asked(filter.strip(), experiment, status, sort, tuple(column or ()), after, view)
    return page(
        request,
        "runs.html",
        "runs",
        view=runs_page.look(held, asked),
        asked=asked,
        most_compared=compare_page.MOST,
        experiment=experiment,
        statuses=[known.value for known in RunStatus if known is not RunStatus.NOT_STARTED],
        experiments=sorted(record.name for record in held.experiments.list("all")),
    )


@router.get("/news-of-runs")
async def news(request: Request) -> Response:
    """Whether the table of runs may have changed: another mark than the table's own. It reads no run."""
    return Response(services(request).hub.mark(), media_type="text/plain", headers=HEADERS)


@router.get("/compare")
def compare(
    request: Request,
    run: Annotated[list[str] | None, Query()] = None,
    found: Literal["", "all"] = "",
    filter: str = "",
    experiment: str = "",
    status: str = "",
    sort: str = "",
    view: Literal["active", "archived", "all"] = "active",
) -> HTMLResponse:
    """Several runs side by side. ``charts=all``: every curve. How the curves are drawn is in ``chart_settings``.

    ``found=all``: not those that ``run`` names, but the first that the rest finds, as on the page of runs.
    """
    held, settings = services(request), chart_settings.chosen(request.query_params)
    all_charts = request.query_params.get("charts") == "all"
    table = runs_page.Asked(filter.strip(), experiment, status, sort, view=view)
    run_ids = list(dict.fromkeys(run or ()))
    pairs, more_found = [("run", run_id) for run_id in run_ids], False
    if found:
        run_ids = runs_page.found(held, table, compare_page.MOST + 1)
        pairs, more_found = table.compared(), len(run_ids) > compare_page.MOST
        run_ids = run_ids[: compare_page.MOST]
    shown = compare_page.look(held, run_ids, clock.now(), all_charts, settings)
    return page(
        request,
        "compare.html",
        "runs",
        view=shown,
        table_address=table.address() if found else "",
        more_found=more_found,
        settings=settings,
        all_charts=all_charts,
        run_pairs=pairs,
        more_address=urlencode([*pairs, *settings.query(), ("charts", "all")]),
    )


@router.get("/charts")
def pictures(request: Request, run: Annotated[list[str], Query()], name: Annotated[list[str], Query()]) -> HTMLResponse:
    """Charts alone, for a page that shows others of the same runs: looked at otherwise, or more closely."""
    held = services(request)
    run_ids = list(dict.fromkeys(run))
    if len(run_ids) > compare_page.MOST or len(name) > run_page.MOST_CHARTS:
        raise UserErrorException(
            f"At most {run_page.MOST_CHARTS} charts of {compare_page.MOST} runs are drawn at once, not {len(name)} of "
            f"{len(run_ids)}."
        )
    found = charts.charts(held, run_ids, name, chart_settings.chosen(request.query_params))
    labels = [words.run_name(each) for each in held.runs.get_all(run_ids).values()] if len(run_ids) > 1 else []
    return page(request, "charts_alone.html", "runs", charts=found, labels=labels)


@router.get("/runs/{run_id}")
def run(request: Request, run_id: str, log: str = "") -> HTMLResponse:
    """One run. ``log``: the log to show; what of the metrics is to be seen is in ``_asked``."""
    held = services(request)
    asked = _asked(request)
    view = run_page.look(held, run_id, clock.now(), asked, acts(request))
    shown = run_page.log(held, run_id, log or None)
    return page(
        request,
        "run.html",
        "runs",
        view=view,
        log=shown,
        log_names=shown.names,
        shown_log=shown.name or "",
        asked=asked,
        chosen_log=log,
        live_address=address(f"/runs/{quote(run_id, safe='')}/live", log=log),
    )


@router.get("/runs/{run_id}/live")
def live(request: Request, run_id: str, log: str = "", parts: Literal["all", "metrics"] = "all") -> HTMLResponse:
    """The parts of a run's page that change while it lives, for the page's script to take over.

    ``parts=metrics``: those alone that show what the run logs, for news of metrics come all the time.
    """
    held = services(request)
    asked = _asked(request)
    if parts == "metrics":
        return page(request, "run_measured.html", "runs", view=run_page.measured(held, run_id, asked), asked=asked)
    view = run_page.look(held, run_id, clock.now(), asked, acts(request))
    names = held.reading.list(run_id)
    shown = log or run_page.usual_log([name for name, _ in names])
    return page(request, "run_live.html", "runs", view=view, log_names=names, shown_log=shown, asked=asked)


def _asked(request: Request) -> run_page.Asked:
    """``charts=all``: every chart. ``metric``: a part of the metrics' names. ``after``: where the rows begin."""
    query = request.query_params
    settings = chart_settings.chosen(query)
    return run_page.Asked(settings, query.get("charts") == "all", query.get("metric", ""), query.get("after") or None)


@dataclass(frozen=True)
class ExperimentRow:
    """An experiment with its newest run."""

    name: str
    created_at: float
    archived: bool
    newest: RunRecord | None
    tally: Tally | None


@router.get("/experiments")
def experiments(request: Request) -> HTMLResponse:
    """All experiments, those that were used last first."""
    held = services(request)
    known, tallies = held.experiments.list("all"), held.experiments.tallies()
    used = {record.id: tallies[record.id].newest_at if record.id in tallies else record.created_at for record in known}
    rows: list[ExperimentRow] = []
    for record in sorted(known, key=lambda record: used[record.id], reverse=True):
        newest = held.runs.list(RunFilter(experiment=record.name, limit=1)) if len(rows) < PAGE_ROWS else ()
        archived = record.archived_at is not None
        tally = tallies.get(record.id)
        rows.append(ExperimentRow(record.name, record.created_at, archived, newest[0] if newest else None, tally))
    return page(request, "experiments.html", "experiments", experiments=rows)


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


@router.get("/{name}")
def unknown(request: Request, name: str) -> HTMLResponse:
    """An address that leads nowhere."""
    return notice(404, "Nothing here by that name", f"There is no page {name!r}.", workspace=workspace_name(request))


def _static_files() -> dict[str, tuple[bytes, str, str]]:
    """Content, media type and tag of each file by name. Nothing else can be asked for."""
    found = {}
    for path in (Path(__file__).parent / "static").iterdir():
        content = path.read_bytes()
        found[path.name] = (content, _TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:16]}"')
    return found


_STATIC = _static_files()
