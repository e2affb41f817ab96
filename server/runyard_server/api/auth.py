"""The one guard in front of every route: who calls, from where, and whether they may."""

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, unquote_to_bytes, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from runyard.errors import (
    AttemptOverError,
    AuthenticationException,
    BodyTooLargeError,
    PathRefusedError,
    PermissionDeniedError,
    RunyardError,
    UserErrorException,
)
from runyard_server.api.errors import ADDRESSES, answer
from runyard_server.api.roles import TABLE, Role
from runyard_server.routes import DeclaredRoute
from runyard_server.services.fence import Fence
from runyard_server.services.pages import cookie_name
from runyard_server.services.tokens import Identity, Lease, TokenService

_SAFE = frozenset({"GET", "HEAD"})
_Found = tuple[str | None, Mapping[str, str], BaseRoute | None]
# Jobs and open pages ask for the same few paths all the time, and to look one up is to try some hundred patterns.
_KEPT_ROUTES, _KEPT_HOSTS, _LONGEST_KEPT = 2000, 50, 200


class Guard:
    """ASGI middleware. Refuses a request before a byte of its body is read.

    Checked in this order: the Host header (a rebound name never reaches us), where a browser says
    that the request comes from, the token, the declared role table, and whether the attempt that the token was
    made for goes on.

    Args:
        hosts: host names that this server answers to.
        routes: gives the application's routes, in order.
        page: answers a refused request for a page (any address that is none of ``errors.ADDRESSES``); is told the
            error, and whether a browser says that another site led here.
    """

    def __init__(
        self,
        app: ASGIApp,
        tokens: TokenService,
        fence: Fence,
        hosts: Sequence[str],
        routes: Sequence[BaseRoute],
        page: Callable[[RunyardError, bool], ASGIApp],
    ) -> None:
        self._app = app
        self._page = page
        self._tokens = tokens
        self._fence = fence
        self._hosts = frozenset(hosts)
        # A server that listens at every address answers to each; an address, unlike a name, cannot be rebound.
        self._any_address = bool(self._hosts & {"0.0.0.0", "::"})
        self._good_hosts: set[str] = set()
        self._routes = routes
        self._found: dict[tuple[str, str], _Found] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            identity = self._identify(scope)
            if identity is not None and identity.lease is not None:
                await self._check_lease(identity.lease)
        except RunyardError as refused:
            if scope["path"].startswith(ADDRESSES):
                refusal: ASGIApp = answer(scope, refused)
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
        _check_text(scope)
        if scope["method"] not in _SAFE:
            self._check_origin(headers)
        path, params, route = self._route(scope)
        scope.setdefault("state", {}).update(route=path, params=params, found=route)
        allowed = TABLE.get((scope["method"], path)) if path else None
        if allowed is None:
            # Unknown routes are told apart only to those who hold a token.
            return self._check_token(scope, headers)
        if Role.PUBLIC in allowed:
            return None
        identity = self._check_token(scope, headers)
        if Role(identity.role) not in allowed:
            raise PermissionDeniedError(f"A token of role '{identity.role}' may not do this.")
        _check_length(headers, route)
        if identity.role == "node":
            _check_node(identity, params)
        if identity.role == "run" and params.get("run_id", identity.run_id) != identity.run_id:
            raise PermissionDeniedError("A run's token is good for that run alone.")
        return identity

    def _route(self, scope: Scope) -> _Found:
        """The path of the route that takes the request, its parameters, and the route."""
        asked = scope["method"], scope["path"]
        found = self._found.get(asked)
        if found is None:
            found = self._look_up(scope)
            if len(self._found) >= _KEPT_ROUTES:
                self._found.clear()
            if len(scope["path"]) <= _LONGEST_KEPT:
                self._found[asked] = found
        return found

    def _look_up(self, scope: Scope) -> _Found:
        for route in self._routes:
            if isinstance(route, Route) or hasattr(route, "path_format"):
                match, found = route.matches(scope)
                if match is Match.FULL:
                    path = str(getattr(route, "path"))  # noqa: B009
                    return path, found.get("path_params", {}), route
        return None, {}, None

    def _check_host(self, headers: Mapping[str, str]) -> None:
        host = headers.get("host", "")
        if host in self._good_hosts:
            return
        name = urlsplit("//" + host).hostname if host and not set(host) & set("/?#@\\") else None
        if name not in self._hosts and not (self._any_address and _is_address(name)):
            raise UserErrorException(f"This server does not answer to the host name {host[:100]!r}.")
        if len(self._good_hosts) >= _KEPT_HOSTS:
            self._good_hosts.clear()
        if len(host) <= _LONGEST_KEPT:
            self._good_hosts.add(host)

    def _check_origin(self, headers: Mapping[str, str]) -> None:
        site = headers.get("sec-fetch-site")
        if site not in (None, "same-origin", "none"):
            raise PermissionDeniedError("Requests that change something are not taken from other sites.")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            raise PermissionDeniedError("Requests that change something are not taken from other origins.")

    async def _check_lease(self, lease: Lease) -> None:
        is_over = self._fence.is_over(lease)
        if is_over is None:
            is_over = await run_in_threadpool(self._fence.look_up, lease)
        if is_over:
            raise AttemptOverError(
                f"Attempt {lease.attempt} of run {lease.run_id} has ended: what is sent for it is not taken any more. "
                "Its process was given up, or has outlived its run; it can only end."
            )

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


def _check_node(identity: Identity, params: Mapping[str, str]) -> None:
    assert identity.lease is not None
    own = {"run_id": identity.run_id, "attempt": str(identity.lease.attempt), "node": str(identity.node)}
    if {name: str(params.get(name)) for name in own} != own:  # of a driver's neither says a node
        raise PermissionDeniedError("A node's ticket is good for that node of that attempt alone.")


def _tokens(scope: Scope, headers: Mapping[str, str]) -> Iterator[str]:
    said = headers.get("authorization", "")
    if said.startswith("Bearer "):
        yield said[len("Bearer ") :]
        return
    if not scope["path"].startswith(ADDRESSES):
        yield from parse_qs(scope["query_string"].decode("latin-1")).get("ticket", [])[:1]
    cookie = SimpleCookie(headers.get("cookie", "")).get(cookie_name(headers.get("host", "")))
    if cookie is not None:
        yield cookie.value


def _check_text(scope: Scope) -> None:
    """An address is decoded once, by the framework, which would put a mark in the place of what is no text."""
    sent = scope.get("raw_path", b"") + b"?" + scope["query_string"]
    try:
        decoded = unquote_to_bytes(sent).decode("utf-8")
    except UnicodeDecodeError:
        raise PathRefusedError("The address is refused: it is not UTF-8.") from None
    if "\x00" in decoded:
        raise PathRefusedError("The address is refused: it has a NUL character.")


def _is_address(name: str | None) -> bool:
    try:
        ipaddress.ip_address(name or "")
    except ValueError:
        return False
    return True


def _check_length(headers: Mapping[str, str], route: BaseRoute | None) -> None:
    said = headers.get("content-length", "")
    if said.isdigit() and isinstance(route, DeclaredRoute) and not route.takes(int(said)):
        raise BodyTooLargeError(f"At most {route.most_json_bytes:,} bytes are taken in one request. Send it in parts.")


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
