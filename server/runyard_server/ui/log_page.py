"""A log on a page of its own, and where in it a text stands."""

import re

from fastapi import Request
from fastapi.responses import HTMLResponse, JSONResponse

from runyard.errors import FileNotInRunError, UserErrorException
from runyard_server.routes import Routes
from runyard_server.services.container import Services
from runyard_server.ui import run_page
from runyard_server.ui.rendering import HEADERS
from runyard_server.ui.visits import Page, page, services

router = Routes(route_class=Page)

MOST_MATCHES = 2000
_BLOCK = 4 << 20
_MOST_BYTES = 2 << 30  # of a log that are searched
_LONGEST = 500  # letters that are looked for


@router.get("/runs/{run_id}/log")
def log(request: Request, run_id: str, name: str = "", at: int | None = None) -> HTMLResponse:
    """A log, followed while it grows. ``at``: the byte offset of the line to begin at; the end where it is not given."""
    held = services(request)
    run = held.runs.get(run_id)
    shown = run_page.log(held, run_id, name or None)
    if name and name not in dict(shown.names):
        raise FileNotInRunError(f"Run {run_id} has no log {name[:200]!r}.")
    return page(request, "log.html", "runs", run=run, log=shown, at=at)


@router.get("/runs/{run_id}/log/matches")
def matches(request: Request, run_id: str, name: str, text: str) -> JSONResponse:
    """Byte offsets at which a text stands in a log, whatever its case: ``{"offsets", "more"}``."""
    if not 0 < len(text) <= _LONGEST:
        raise UserErrorException(f"1 to {_LONGEST} letters can be looked for in a log.")
    found, more = find(services(request), run_id, name, text)
    return JSONResponse({"offsets": found, "more": more}, headers=HEADERS)


def find(held: Services, run_id: str, name: str, text: str, block: int = _BLOCK) -> tuple[list[int], bool]:
    """The first matches, and whether there may be more; reads a block at a time, so that the log's size costs no memory.

    Raises:
        FileNotInRunError: the run has no such log.
    """
    wanted = re.compile(re.escape(text.encode("utf-8")), re.IGNORECASE)
    overlap = len(text.encode("utf-8")) - 1
    found: list[int] = []
    offset, kept = 0, b""
    while offset < _MOST_BYTES:
        data = held.reading.read(run_id, name, offset, block)
        if not data:
            return found, False
        whole = kept + data
        for match in wanted.finditer(whole):
            found.append(offset - len(kept) + match.start())
            if len(found) == MOST_MATCHES:
                return found, True
        offset += len(data)
        # What was matched is not matched again with what follows.
        after = max(found[-1] + len(text.encode("utf-8")) - (offset - len(whole)), 0) if found else 0
        kept = whole[max(len(whole) - overlap, after) :] if overlap else b""
    return found, True
