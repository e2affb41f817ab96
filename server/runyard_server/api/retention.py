"""Routes of retention rules."""

from typing import Any

from fastapi import Request

from runyard.errors import RetentionException
from runyard.protocol.codec import to_json
from runyard.protocol.retention import RetentionRequest, RetentionRule
from runyard_server.api.context import caller, services
from runyard_server.routes import Routes

router = Routes()


@router.get("/retention-rules")
def list_rules(request: Request) -> Any:
    """The rules by which runs go, by name."""
    return [to_json(rule) for rule in services(request).retention.list()]


@router.post("/retention-rules")
def add(rule: RetentionRule, request: Request) -> Any:
    """Keeps a rule. It changes nothing until it is applied: by ``POST /retention``, or daily if it says so."""
    return to_json(services(request).retention.add(rule, caller(request)))


@router.get("/retention-rules/{name}")
def get(name: str, request: Request) -> Any:
    """One rule."""
    return to_json(services(request).retention.get(name))


@router.delete("/retention-rules/{name}")
def remove(name: str, request: Request) -> Any:
    """Forgets a rule."""
    services(request).retention.remove(name)
    return {}


@router.post("/retention")
def apply(asked: RetentionRequest, request: Request) -> Any:
    """Says what rules would do now (``dry_run``): which runs go, how many bytes, and why each other one is kept.

    Or does that: an application names the ``plan`` of a dry run, and takes its runs and no others, also when it is sent
    again. Where the rules mean other runs by now (one of them was tagged ``keep``, say, or deleted), or are others than
    those of the dry run, it takes none: 409. What keeps a run that an application under way has not come to stays.
    """
    retention = services(request).retention
    if asked.dry_run:
        return to_json(retention.look(asked.rules))
    if not asked.plan:
        raise RetentionException(
            "An application names the plan that it carries out. Ask with dry_run first, look at what it says, and give "
            "its plan."
        )
    return to_json(retention.apply(asked.rules, asked.plan, caller(request)))
