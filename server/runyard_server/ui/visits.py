"""What every page has in common: a visit with a ticket, errors told as pages, and the refusal of strangers."""

import logging
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute

from runyard.errors import AuthenticationException, RunyardError, UserErrorException
from runyard_server.domain.clock import SystemClock
from runyard_server.services.container import Services
from runyard_server.services.pages import cookie_name
from runyard_server.services.tokens import TICKET_S
from runyard_server.ui.rendering import HEADERS, notice, render

log = logging.getLogger(__name__)
clock = SystemClock()

_FORM_BYTES = 256 << 10

TITLES = {
    401: "This page needs an address of its own",
    403: "This token may not see pages",
    404: "Nothing here by that name",
}


def services(request: Request) -> Services:
    """The services that the application was built with."""
    held: Services = request.app.state.services
    return held


def workspace_name(request: Request) -> str:
    """The name in the head of each page."""
    return str(services(request).workspace.get()["name"])


def page(request: Request, template: str, section: str, **values: Any) -> HTMLResponse:
    """A page inside the frame of all; ``section`` is the entry of the menu that it belongs to."""
    known = {"workspace": workspace_name(request), "section": section, "now": clock.now(), "acts": acts(request)}
    return render(template, {**known, **values})


def address(path: str, **said: str) -> str:
    """A path with a query of what is not empty."""
    query = urlencode({key: value for key, value in said.items() if value})
    return f"{path}?{query}" if query else path


def onward(path: str) -> RedirectResponse:
    """Where a button leads when its work is done."""
    return RedirectResponse(path, 303, HEADERS)


def acts(request: Request) -> bool:
    """Whether the visitor may do more than read."""
    return request.state.identity.role in ("operator", "member")


async def form(request: Request) -> dict[str, str]:
    """The fields of a form that a browser sent, each with its first value. Raises as ``fields``."""
    return {name: values[0] for name, values in (await fields(request)).items()}


async def fields(request: Request, most: int = 50) -> dict[str, list[str]]:
    """The fields of a form that a browser sent, at most ``most`` values of them.

    Raises:
        UserErrorException: it is no form, or far too long.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _FORM_BYTES:
            raise UserErrorException(f"A form has at most {_FORM_BYTES:,} bytes.")
    try:
        said = parse_qs(body.decode("utf-8"), max_num_fields=most)
    except ValueError:
        raise UserErrorException("This is no form as browsers send them.") from None
    if any("\0" in value for values in said.values() for value in values):
        raise UserErrorException("A field has a NUL character, which cannot be kept.")
    return said


def own_path(wanted: str, otherwise: str) -> str:
    """A path of this server, where a form says one to go on to; whatever else it says leads to ``otherwise``."""
    plain = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if plain else otherwise


def keep_ticket(response: Response, request: Request, ticket: str, lasts_s: float) -> None:
    """Gives a browser the ticket as a cookie that no script and no other site sees."""
    response.set_cookie(
        cookie_name(request.headers["host"]),
        ticket,
        max_age=int(lasts_s),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def refused(fault: RunyardError, from_elsewhere: bool) -> Response:
    """The page for a visitor whom the guard stopped.

    Args:
        from_elsewhere: another site led here; browsers keep our cookie back then, and opening the
            address again from our own page is all that is missing.
    """
    title = TITLES.get(fault.http_status, "This request was refused")
    message = fault.message.partition(". ")[0].rstrip(".") + "." if fault.http_status == 401 else fault.message
    return notice(fault.http_status, title, message, again=from_elsewhere)


class Page(APIRoute):
    """A route that answers with HTML, whatever happens."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def visit(request: Request) -> Response:
            if "ticket" in request.query_params:
                return _first_visit(request)
            try:
                return await handle(request)
            except RunyardError as fault:
                title = TITLES.get(fault.http_status, "This request was refused")
                return notice(fault.http_status, title, fault.message, workspace=workspace_name(request))
            except RequestValidationError as fault:
                wrong = "; ".join(f"{error['loc'][-1]}: {error['msg']}" for error in fault.errors())
                title = "This address is not understood"
                return notice(400, title, f"What is wrong in it: {wrong}.", workspace=workspace_name(request))
            except Exception as fault:
                log.error("%s failed", request.url.path, exc_info=fault)
                message = f"The server failed on it ({type(fault).__name__}); its log has the details."
                return notice(500, "This page is broken", message)

        return visit


def _first_visit(request: Request) -> Response:
    """Keeps the ticket as a cookie and goes on to the same address without it, so that no history holds it."""
    others = [(key, value) for key, value in request.query_params.multi_items() if key != "ticket"]
    aim = "/" + quote(request.url.path.lstrip("/")) + ("?" + urlencode(others) if others else "")
    response: Response
    if request.headers.get("sec-fetch-site") == "cross-site":
        # A redirect would still count as coming from the other site, and a strict cookie not be sent with it.
        response = render("onward.html", {"address": aim, "workspace": None, "section": ""})
    else:
        response = RedirectResponse(aim, 303, HEADERS)
    ticket = _reading_ticket(request)
    if ticket is not None and not _may_act_already(request):
        keep_ticket(response, request, ticket, TICKET_S)
    return response


def _reading_ticket(request: Request) -> str | None:
    """The ticket of the address; in the place of a mightier token a ticket that may only read."""
    tokens = services(request).tokens
    ticket = request.query_params["ticket"]
    try:
        identity = tokens.check(ticket)
    except AuthenticationException:  # an old address, opened where a cookie is still good
        return None
    return ticket if identity.role == "viewer" else tokens.ticket(identity)


def _may_act_already(request: Request) -> bool:
    """A printed address, opened where a mightier cookie is good, does not take that away."""
    kept = request.cookies.get(cookie_name(request.headers["host"]), "")
    try:
        return services(request).tokens.check(kept).role == "operator"
    except AuthenticationException:
        return False
