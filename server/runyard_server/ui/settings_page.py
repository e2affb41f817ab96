"""Settings: what this browser may do, tokens that people made, and the rules by which runs go."""

from collections.abc import Mapping

from fastapi import Request
from fastapi.responses import HTMLResponse, Response

from runyard.errors import AuthenticationException, PermissionDeniedError, UserErrorException
from runyard.protocol.retention import RetentionAction
from runyard.protocol.version import VERSION
from runyard_server.routes import Routes
from runyard_server.services.tokens import ACTING_S, TICKET_S, Identity
from runyard_server.ui.visits import Page, acts, form, keep_ticket, onward, own_path, page, services

router = Routes(route_class=Page)

NOTHING: Mapping[str, str] = {}
DAYS = (1, 7, 30, 90, 365)


@router.get("/settings")
def settings(request: Request, onward: str = "") -> HTMLResponse:
    """The page. ``onward``: where to go on once this browser may act."""
    return shown(request, onward=onward)


@router.post("/settings/unlock")
async def unlock(request: Request) -> Response:
    """Lets this browser act for some hours, where the workspace's token is shown."""
    said = await form(request)
    tokens = services(request).tokens
    try:
        identity: Identity | None = tokens.check(said.get("token", "").strip())
    except AuthenticationException:
        identity = None
    if identity is None or identity.role != "member":
        problem = "This is not a token of this workspace that may change something."
        return shown(request, problem, onward=said.get("onward", ""), http_status=400)
    response = onward(own_path(said.get("onward", ""), "/settings"))
    keep_ticket(response, request, tokens.acting_ticket(identity), ACTING_S)
    return response


@router.post("/settings/lock")
def lock(request: Request) -> Response:
    """From now on this browser only reads."""
    response = onward("/settings")
    keep_ticket(response, request, services(request).tokens.ticket(request.state.identity), TICKET_S)
    return response


@router.post("/settings/tokens")
async def create(request: Request) -> HTMLResponse:
    """Makes a token under a name, and shows it this once."""
    said = await form(request)
    try:
        days = int(said.get("days", "30"))
        if days not in DAYS:
            raise ValueError(days)
        token = services(request).tokens.create(
            said.get("name", ""), said.get("role", "viewer"), days * 24 * 3600.0, request.state.identity
        )
    except ValueError:
        return shown(request, f"A token lasts {', '.join(map(str, DAYS))} days.", http_status=400)
    except PermissionDeniedError:
        raise
    except UserErrorException as fault:
        return shown(request, fault.message, http_status=400)
    return shown(request, made=token)


@router.post("/settings/tokens/{token_id}/revoke")
def revoke(request: Request, token_id: str) -> Response:
    """Makes a token good for nothing."""
    services(request).tokens.revoke(token_id)
    return onward("/settings#tokens")


def shown(
    request: Request,
    problem: str = "",
    made: str = "",
    onward: str = "",
    http_status: int = 200,
    rule_asked: Mapping[str, str] = NOTHING,
) -> HTMLResponse:
    """The page, with what went wrong or what was made; ``rule_asked`` is a form that has to be filled in once more."""
    held = services(request)
    made_page = page(
        request,
        "settings.html",
        "settings",
        problem=problem,
        made=made,
        onward=onward,
        tokens=held.tokens.named(),
        makes_tokens=acts(request) and request.state.identity.named is None,
        days=DAYS,
        rules=held.retention.list(),
        rule_asked=rule_asked,
        actions=list(RetentionAction),
        version=VERSION,
        known=held.workspace.get(),
        address=f"{request.url.scheme}://{request.headers['host']}",
    )
    made_page.status_code = http_status
    return made_page
