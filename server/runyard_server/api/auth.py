"""The one guard in front of every route: who calls, from where, and whether they may."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from runyard.errors import AuthenticationException, PermissionDeniedError, RunyardError, UserErrorException
from runyard_server.api.errors import answer
from runyard_server.api.roles import TABLE, Role
from runyard_server.services.pages import cookie_name
from runyard_server.services.tokens import Identity, TokenService

_SAFE = frozenset({"GET", "HEAD"})


class Guard:
    """ASGI middleware. Refuses a request before a byte of its body is read.

    Checked in this order: the Host header (a rebound name never reaches us), where a browser says
    that the request comes from, the token, the declared role table.

    Args:
        hosts: host names that this server answers to.
        routes: gives the application's routes, in order.
        page: answers a refused request for a page (anything outside ``/api/``); is told the error, and
            whether a browser says that another site led here.
    """

    def __init__(
        self,
        app: ASGIApp,
        tokens: TokenService,
        hosts: Sequence[str],
        routes: Sequence[BaseRoute],
        page: Callable[[RunyardError, bool], ASGIApp],
    ) -> None:
        self._app = app
        self._page = page
        self._tokens = tokens
        self._hosts = frozenset(hosts)
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            identity = self._identify(scope)
        except RunyardError as refused:
            if scope["path"].startswith("/api/"):
                refusal: ASGIApp = answer(refused.http_status, refused.code, refused.message)
            else:
                refusal = self._page(refused, (b"sec-fetch-site", b"cross-site") in scope["headers"])
            await refusal(scope, receive, send)
            return
        scope.setdefault("state", {})["caller"] = identity.name if identity else "anyone"
        scope["state"]["identity"] = identity
        await self._app(scope, receive, send)

    def _identify(self, scope: Scope) -> Identity | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self._check_host(headers)
        if scope["method"] not in _SAFE:
            self._check_origin(headers)
        path, params = self._route(scope)
        allowed = TABLE.get((scope["method"], path)) if path else None
        if allowed is None:
            # Unknown routes are told apart only to those who hold a token.
            return self._check_token(scope, headers)
        if Role.PUBLIC in allowed:
            return None
        identity = self._check_token(scope, headers)
        if Role(identity.role) not in allowed:
            raise PermissionDeniedError(f"A token of role '{identity.role}' may not do this.")
        if identity.role == "run" and params.get("run_id", identity.run_id) != identity.run_id:
            raise PermissionDeniedError("A run's token is good for that run alone.")
        return identity

    def _route(self, scope: Scope) -> tuple[str | None, Mapping[str, str]]:
        for route in self._routes:
            if isinstance(route, Route) or hasattr(route, "path_format"):
                match, found = route.matches(scope)
                if match is Match.FULL:
                    return str(getattr(route, "path")), found.get("path_params", {})  # noqa: B009
        return None, {}

    def _check_host(self, headers: Mapping[str, str]) -> None:
        host = headers.get("host", "")
        name = urlsplit("//" + host).hostname if host and not set(host) & set("/?#@\\") else None
        if name not in self._hosts:
            raise UserErrorException(f"This server does not answer to the host name {host[:100]!r}.")

    def _check_origin(self, headers: Mapping[str, str]) -> None:
        site = headers.get("sec-fetch-site")
        if site not in (None, "same-origin", "none"):
            raise PermissionDeniedError("Requests that change something are not taken from other sites.")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            raise PermissionDeniedError("Requests that change something are not taken from other origins.")

    def _check_token(self, scope: Scope, headers: Mapping[str, str]) -> Identity:
        """Whom the first token that is good stands for: an old address does not shut out who has a newer cookie."""
        refused: RunyardError = AuthenticationException(
            "This needs a token. Clients of this machine find it by themselves; a page's address is printed by "
            "`runyard run show RUN` and run.get_portal_url()."
        )
        for token in _tokens(scope, headers):
            try:
                return self._tokens.check(token)
            except AuthenticationException as fault:
                refused = fault
        raise refused


def _tokens(scope: Scope, headers: Mapping[str, str]) -> Iterator[str]:
    said = headers.get("authorization", "")
    if said.startswith("Bearer "):
        yield said[len("Bearer ") :]
        return
    if not scope["path"].startswith("/api/"):
        yield from parse_qs(scope["query_string"].decode("latin-1")).get("ticket", [])[:1]
    cookie = SimpleCookie(headers.get("cookie", "")).get(cookie_name(headers.get("host", "")))
    if cookie is not None:
        yield cookie.value


def undeclared(routes: Sequence[BaseRoute]) -> list[str]:
    """Routes without a row in the table, as "METHOD path"; anything that hides routes inside it counts as one."""
    missing = []
    for route in routes:
        if not hasattr(route, "path_format"):
            missing.append(f"whatever is in {route!r:.60}")
        for method in sorted(getattr(route, "methods", None) or ()):
            if method != "HEAD" and (method, str(getattr(route, "path", ""))) not in TABLE:
                missing.append(f"{method} {getattr(route, 'path', '')}")
    return missing
