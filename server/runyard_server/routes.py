"""Routes as modules declare them. FastAPI works each out when somebody first asks for it.

To work one out is to read a function's parameters and to compile what checks each of them: some milliseconds, and a
server has more than two hundred, of which a run needs a dozen.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from fastapi.routing import APIRoute
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])


class DeclaredRoute(Route):
    """A route whose address is known, and the rest from its first request on.

    Args:
        method: the one that it answers to.
        route_class: FastAPI's class that it becomes.
        most_json_bytes: the most bytes of a body, where that is read as JSON; None for any number.
    """

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        method: str,
        route_class: type[APIRoute] = APIRoute,
        most_json_bytes: int | None = None,
    ) -> None:
        super().__init__(path, endpoint, methods=[method])
        self.methods = {method}  # Starlette would have a GET answer to HEAD too
        self.most_json_bytes = most_json_bytes
        self._route_class = route_class

    @cached_property
    def worked_out(self) -> APIRoute:
        """The route of FastAPI's, made now if this is its first use."""
        route = self._route_class(self.path, self.endpoint, methods=sorted(self.methods or ()))
        if self.most_json_bytes is not None and route.body_field is not None:
            route.app = RequestBodyLimitMiddleware(route.app, self.most_json_bytes)
        return route

    def takes(self, size: int) -> bool:
        """Whether a body of that many bytes is taken."""
        return self.most_json_bytes is None or size <= self.most_json_bytes or self.worked_out.body_field is None

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.worked_out.handle(scope, receive, send)


class _Declared(NamedTuple):
    method: str
    path: str
    endpoint: Callable[..., Any]


class Routes:
    """What a module declares: ``@router.get("/runs/{run_id}")`` stands above a function as FastAPI reads them.

    Args:
        prefix: what all their addresses begin with.
        route_class: FastAPI's class that they become.
    """

    def __init__(self, prefix: str = "", route_class: type[APIRoute] = APIRoute) -> None:
        self.prefix = prefix
        self._route_class = route_class
        self._declared: list[_Declared] = []

    @cached_property
    def routes(self) -> list[DeclaredRoute]:
        """At the addresses that were declared. Whoever asks again has the same ones."""
        return self.below("")

    def below(
        self, prefix: str, route_class: type[APIRoute] | None = None, most_json_bytes: int | None = None
    ) -> list[DeclaredRoute]:
        """At addresses with something more in front.

        Args:
            route_class: another one than the module's.
            most_json_bytes: as of ``DeclaredRoute``.
        """
        becomes = route_class or self._route_class
        return [
            DeclaredRoute(prefix + self.prefix + each.path, each.endpoint, each.method, becomes, most_json_bytes)
            for each in self._declared
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
            self._declared.append(_Declared(method, path, endpoint))
            return endpoint

        return declared
