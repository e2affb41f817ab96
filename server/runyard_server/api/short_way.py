"""What clients and jobs send all the time, past the framework, whose routing and reading cost more than the work."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from inspect import iscoroutinefunction
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from pydantic import TypeAdapter
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runyard.errors import RunyardError
from runyard.protocol.jobs import JobReport
from runyard.protocol.runs import RunSpec
from runyard_server.api import logs, metrics, runs
from runyard_server.api.bodies import refuse_what_cannot_be_kept, whole_body
from runyard_server.api.errors import answer

BODY_BYTES = 1 << 20  # of JSON; a longer one takes its time anyway
_MOST = (1 << 63) - 1


@dataclass(frozen=True)
class _Way:
    """A route's own function, and what it is given beside the parts of the path.

    Attributes:
        query: the names that the query has, each once.
        body: the parameter that the JSON body is, and its class.
    """

    endpoint: Callable[..., Any]
    query: Mapping[str, type] = field(default_factory=dict)
    body: tuple[str, type] | None = None


WAYS: Mapping[tuple[str, str], _Way] = {
    ("PUT", "/api/v1/runs/{run_id}/logs/{name:path}"): _Way(logs.append, {"offset": int}),
    ("POST", "/api/v1/runs/{run_id}/metrics"): _Way(metrics.take, {"writer": str, "offset": int}),
    ("POST", "/api/v1/runs/{run_id}/report"): _Way(runs.report, body=("said", JobReport)),
    ("POST", "/api/v1/runs"): _Way(runs.submit, body=("spec", RunSpec)),
}


class ShortWay:
    """ASGI middleware behind guard and lanes: calls a route's function itself, where the request is as our clients send it.

    Anything else goes the framework's way, which says what is wrong with it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        way = WAYS.get((scope["method"], scope["state"]["route"]))
        if way is None:
            await self._app(scope, receive, send)
            return
        request, query = Request(scope, receive), _read(scope["query_string"], way.query)
        if query is None or way.body is not None and not _is_short_json(request):
            await self._app(scope, receive, send)
            return
        given = {**scope["state"]["params"], **query}
        try:
            if way.body is not None:
                name, kind = way.body
                sent = await whole_body(request)
                await refuse_what_cannot_be_kept(sent)
                try:
                    given[name] = _reader(kind).validate_python(json.loads(sent))
                except (ValueError, RecursionError):
                    await self._app(scope, _again(sent, receive), send)
                    return
            response = await _called(way.endpoint, request, given)
        except RunyardError as fault:
            response = answer(scope, fault)
        await response(scope, receive, send)


def _is_short_json(request: Request) -> bool:
    length = request.headers.get("content-length", "")
    is_short = length.isascii() and length.isdigit() and len(length) < 8 and int(length) <= BODY_BYTES
    return is_short and request.headers.get("content-type") == "application/json"


@cache
def _reader(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read already, then what comes after it."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def received() -> Message:
        return waiting.pop() if waiting else await receive()

    return received


async def _called(endpoint: Callable[..., Any], request: Request, given: Mapping[str, Any]) -> Response:
    if iscoroutinefunction(endpoint):
        said = await endpoint(request=request, **given)
    else:
        said = await run_in_threadpool(endpoint, request=request, **given)
    return said if isinstance(said, Response) else JSONResponse(said)


def _read(sent: bytes, wanted: Mapping[str, type]) -> dict[str, Any] | None:
    """The values of a query with exactly these names; None for any other query."""
    pairs = parse_qsl(sent.decode("latin-1"), keep_blank_values=True)
    if len(pairs) != len(wanted) or {name for name, _ in pairs} != set(wanted):
        return None
    found: dict[str, Any] = {}
    for name, text in pairs:
        if wanted[name] is str:
            found[name] = text
        elif text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= _MOST:
            found[name] = int(text)
        else:
            return None
    return found
