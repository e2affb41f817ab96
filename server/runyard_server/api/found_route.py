"""The route that the guard has found is taken; otherwise the framework would try some hundred patterns a second time."""

from fastapi import APIRouter, FastAPI
from starlette.routing import Route
from starlette.types import Receive, Scope, Send


def install(app: FastAPI) -> None:
    """Lets the application's router begin at the guard's route."""
    app.router.middleware_stack = _FoundRoute(app.router)


class _FoundRoute:
    def __init__(self, router: APIRouter) -> None:
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = scope["state"].get("found") if scope["type"] == "http" else None
        if found is None:  # no route is that, or not with this method: the router says which
            await self._router.app(scope, receive, send)
            return
        route: Route = found
        scope.setdefault("router", self._router)
        scope.update(endpoint=route.endpoint, route=route, path_params=dict(scope["state"]["params"]))
        await route.handle(scope, receive, send)
