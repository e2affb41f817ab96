"""Routes are FastAPI's own, worked out one by one when they are asked for."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pytest
from fastapi import APIRouter, FastAPI, Query, Request

from runyard_server import app
from runyard_server.routes import DeclaredRoute, Routes
from runyard_server.settings import Secrets, Settings
from runyard_server.testing.client import Client

URL = "http://127.0.0.1:8000"

Declares = TypeVar("Declares", Routes, APIRouter)


@dataclass(frozen=True)
class Sent:
    name: str
    count: int = 1


def declare(router: Declares) -> Declares:
    @router.get("/things/{thing:path}")
    def get(thing: str, limit: Annotated[int, Query(ge=1)] = 5) -> Any:
        return {"thing": thing, "limit": limit}

    @router.post("/things")
    def make(said: Sent) -> Any:
        return {"name": said.name, "count": said.count}

    @router.put("/things/{thing}")
    async def put(thing: str, request: Request) -> Any:
        return {"thing": thing, "bytes": len(await request.body())}

    return router


def asked_of(routes: Any) -> Client:
    made = FastAPI()
    made.router.routes.extend(routes)
    return Client(made, URL)


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("GET", "/things/a/b?limit=7", {}),
        ("GET", "/things/a?limit=0", {}),
        ("GET", "/things/a?limit=many", {}),
        ("POST", "/things", {"json": {"name": "x"}}),
        ("POST", "/things", {"json": {"count": "some"}}),
        ("POST", "/things", {"content": b"{", "headers": {"content-type": "application/json"}}),
        ("PUT", "/things/a", {"content": b"12345"}),
        ("HEAD", "/things/a", {}),
        ("DELETE", "/things/a", {}),
        ("GET", "/other", {}),
    ],
)
def test_it_answers_as_one_that_fastapi_has_worked_out_at_once(method: str, path: str, sent: dict[str, Any]) -> None:
    ours = asked_of(declare(Routes()).routes).request(method, path, **sent)
    fastapis = asked_of(declare(APIRouter()).routes).request(method, path, **sent)
    assert (ours.status_code, ours.content) == (fastapis.status_code, fastapis.content)
    assert ours.headers.get("allow") == fastapis.headers.get("allow")


def test_a_request_works_out_its_own_route_alone() -> None:
    routes = declare(Routes()).routes
    assert not any(is_worked_out(route) for route in routes)
    asked_of(routes).request("GET", "/things/a")
    assert [is_worked_out(route) for route in routes] == [True, False, False]


def test_a_body_has_a_limit_where_it_is_read_as_json_and_nowhere_else() -> None:
    asked = asked_of(declare(Routes("/of")).below("/below", most_json_bytes=20))
    assert asked.request("POST", "/below/of/things", json={"name": "x"}).status_code == 200
    assert asked.request("POST", "/below/of/things", json={"name": "x" * 20}).status_code == 413
    in_pieces = {"content": pieces(b'{"name": "', b"x" * 20, b'"}'), "headers": {"content-type": "application/json"}}
    assert asked.request("POST", "/below/of/things", **in_pieces).status_code == 413
    assert asked.request("PUT", "/below/of/things/a", content=bytes(21)).json() == {"thing": "a", "bytes": 21}


async def pieces(*sent: bytes) -> AsyncIterator[bytes]:
    """A body whose length is not said before."""
    for piece in sent:
        yield piece


@pytest.fixture
def started(tmp_path: Path) -> Iterator[app.Server]:
    app._api_routes.cache_clear()  # other tests of this process have asked for theirs
    settings = Settings(home=tmp_path / "home", environments=tmp_path / "environments")
    settings.home.mkdir(mode=0o700)
    server = app.build(settings, Secrets("own", b"k" * 32), lambda: URL)
    yield server
    server.close()


def test_a_server_works_out_of_its_api_what_it_is_asked_for_by_whom_may_ask(started: app.Server) -> None:
    def worked_out() -> list[str]:
        return [route.path for route in app._api_routes() if is_worked_out(route)]

    assert len(app._api_routes()) > 100 and worked_out() == []
    assert Client(started.app, URL).request("POST", "/api/v1/runs/check", json={}).status_code == 401
    assert worked_out() == []
    asked = Client(started.app, URL, {"Authorization": "Bearer own"})
    assert asked.request("GET", "/api/v1/runs").status_code == 200
    assert worked_out() == ["/api/v1/runs"]


def is_worked_out(route: DeclaredRoute) -> bool:
    return "worked_out" in vars(route)
