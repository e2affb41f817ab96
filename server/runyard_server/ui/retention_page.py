"""Retention rules as pages: on the settings what there is, and of one rule what it would do now."""

from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, Response

from runyard.errors import PlanChangedError, UserErrorException
from runyard.protocol.retention import RetentionAction, RetentionRule
from runyard_server.routes import Routes
from runyard_server.ui.settings_page import shown
from runyard_server.ui.visits import Page, form, onward, page, services

router = Routes(route_class=Page)


@router.get("/settings/retention/{name}")
def rule(request: Request, name: str) -> HTMLResponse:
    """A rule, which runs would go by it now, and why each other one is kept."""
    return _shown(request, name)


def _shown(request: Request, name: str, problem: str = "") -> HTMLResponse:
    held = services(request).retention
    made = page(
        request,
        "retention.html",
        "settings",
        rule=held.get(name),
        outcome=held.preview(name),
        problem=problem,
    )
    made.status_code = 409 if problem else 200
    return made


@router.post("/settings/retention")
def add(request: Request, said: Annotated[dict[str, str], Depends(form)]) -> Response:
    """Keeps a rule, and shows what it would do."""
    try:
        made = services(request).retention.add(_rule(said), request.state.caller)
    except UserErrorException as fault:
        return shown(request, fault.message, http_status=400, rule_asked=said)
    return onward(f"/settings/retention/{quote(made.name, safe='')}")


@router.post("/settings/retention/{name}/apply")
def apply(request: Request, name: str, said: Annotated[dict[str, str], Depends(form)]) -> Response:
    """Applies the rule to the runs that were shown; where it means others by now, these are shown first."""
    try:
        services(request).retention.apply([name], said.get("plan", ""), request.state.caller)
    except PlanChangedError as fault:
        return _shown(request, name, fault.message)
    return onward(f"/settings/retention/{quote(name, safe='')}")


@router.post("/settings/retention/{name}/remove")
def remove(request: Request, name: str) -> Response:
    """Forgets the rule."""
    services(request).retention.remove(name)
    return onward("/settings#retention")


def _rule(said: dict[str, str]) -> RetentionRule:
    """What the form says.

    Raises:
        UserErrorException: a number that is none, or an action that there is not.
    """
    try:
        older = said.get("older", "").strip()
        newest = said.get("newest", "").strip()
        return RetentionRule(
            name=said.get("name", "").strip(),
            action=RetentionAction(said.get("action", "")),
            where=said.get("where", ""),
            older_than_days=float(older) if older else None,
            keep_newest=int(newest) if newest else None,
            daily=said.get("daily") == "yes",
        )
    except ValueError as fault:
        raise UserErrorException(f"The rule is not understood: {fault}.") from None
