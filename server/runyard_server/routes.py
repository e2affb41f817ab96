"""Routes as modules declare them. FastAPI works each out when somebody first asks for it.

To work one out is to read a function's parameters and to compile what checks each of them: some milliseconds, and a
server has more than two hundred, of which a run needs a dozen. All of them would be half of what a start computes.
"""

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, TypeVar

from fastapi.routing import APIRoute
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])


class DeclaredRoute(Route):
    """A route of FastAPI's: what it answers to now, the rest with its first request.

    Args:
        method: the one that it answers to.
        of: what it is once it is worked out.
        most_json_bytes: the most bytes of a body, where that is read as JSON; None for any number.
    """

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        method: str,
        of: type[APIRoute] = APIRoute,
        most_json_bytes: int | None = None,
    ) -> None:
        super().__init__(path, endpoint, methods=[method])
        self.methods = {method}  # Starlette would have a GET answer to HEAD too
        self.method = method
        self._of = of
        self._most_json_bytes = most_json_bytes

    @cached_property
    def worked_out(self) -> APIRoute:
        """FastAPI's own."""
        make = partial(self._of, self.path, self.endpoint, methods=[self.method])
        route = make()
        if self._most_json_bytes is None or route.body_field is None:
            return route
        return make(max_body_size=self._most_json_bytes)

    @property
    def max_body_size(self) -> int | None:
        """The most bytes of a body; None for any number."""
        return self.worked_out.max_body_size

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.worked_out.handle(scope, receive, send)


class Routes:
    """A module's routes: ``@router.get("/runs/{run_id}")`` stands above a function as FastAPI reads them.

    Args:
        prefix: what all their addresses begin with.
        of: what they are once they are worked out.
    """

    def __init__(self, prefix: str = "", of: type[APIRoute] = APIRoute) -> None:
        self.prefix = prefix
        self.routes: list[DeclaredRoute] = []
        self._of = of

    def below(
        self, prefix: str, of: type[APIRoute] = APIRoute, most_json_bytes: int | None = None
    ) -> list[DeclaredRoute]:
        """The same routes at addresses that begin with ``prefix``; the others as of ``DeclaredRoute``."""
        return [
            DeclaredRoute(prefix + route.path, route.endpoint, route.method, of, most_json_bytes)
            for route in self.routes
        ]

    def get(self, path: str) -> Callable[[_Endpoint], _Endpoint]:
        return self._declare("GET", path)

    def post(self, path: str) -> Callable[[_Endpoint], _Endpoint]:
        return self._declare("POST", path)

    def put(self, path: str) -> Callable[[_Endpoint], _Endpoint]:
        return self._declare("PUT", path)

    def patch(self, path: str) -> Callable[[_Endpoint], _Endpoint]:
        return self._declare("PATCH", path)

    def delete(self, path: str) -> Callable[[_Endpoint], _Endpoint]:
        return self._declare("DELETE", path)

    def _declare(self, method: str, path: str) -> Callable[[_Endpoint], _Endpoint]:
        def declared(endpoint: _Endpoint) -> _Endpoint:
            self.routes.append(DeclaredRoute(self.prefix + path, endpoint, method, self._of))
            return endpoint

        return declared
