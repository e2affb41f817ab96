"""The list of the doors is whole: every route that takes a path is among those that are tried with bad ones."""

from collections.abc import Iterator
from typing import Any

from runyard_server.api.roles import TABLE
from runyard_server.testing.client import Client

from .conftest import ADDRESS, MEMBER, Yard
from .doors import API, DOORS
from .test_mlflow_routes import DOORS_OF_MLFLOW

# Parts of the names of parameters and fields that may hold a path.
WORDS = {"path", "paths", "file", "files", "folder", "script", "root", "directory", "location", "source", "writer"}
# Fields with such a name that hold none: the server opens and makes nothing by them.
NO_PATHS = {
    "source_directory": "what the client calls its own folder; shown",
    "path_on_compute": "where the job puts its data, in its own working directory",
    "source_run_id": "a run",
    "source_type": "what MLflow says of a data set; told",
}
NO_PLACES = {("POST", "/api/2.0/mlflow/runs/log-inputs")}  # a data set's source is a text that is told


def is_path(name: str) -> bool:
    return name not in NO_PATHS and bool(WORDS & set(name.split("_")))


def fields(document: Any, schema: Any, seen: tuple[str, ...] = ()) -> Iterator[str]:
    """The names of all fields of a body, however deep they are."""
    named = schema.get("$ref", "")
    if named in seen:
        return
    if named:
        yield from fields(document, document["components"]["schemas"][named.rpartition("/")[2]], (*seen, named))
    for name, inner in schema.get("properties", {}).items():
        yield name
        yield from fields(document, inner, seen)
    more = [schema.get("items"), schema.get("additionalProperties")]
    for inner in [*more, *(one for word in ("anyOf", "allOf", "oneOf") for one in schema.get(word, []))]:
        if isinstance(inner, dict):
            yield from fields(document, inner, seen)


def takes_a_path(yard: Yard, document: Any, method: str, path: str) -> bool:
    if ":path}" in path:
        return True
    if not path.startswith("/api/"):  # a page
        (route,) = [one for one in yard.server.app.router.routes if _is(one, method, path)]
        return any(is_path(one.name) for one in route.worked_out.dependant.query_params)
    said = document["paths"].get(path, {}).get(method.lower(), {})
    bodies = said.get("requestBody", {}).get("content", {})
    return (
        any(is_path(one["name"]) for one in said.get("parameters", []))
        or any(is_path(name) for body in bodies.values() for name in fields(document, body.get("schema", {})))
    ) and (method, path) not in NO_PLACES


def _is(route: Any, method: str, path: str) -> bool:
    return getattr(route, "path", None) == path and method in (getattr(route, "methods", None) or ())


def test_every_route_that_takes_a_path_is_a_door(yard: Yard) -> None:
    """Which route a door leads to is seen where it is opened: the guard tells it to the application behind it."""
    entered: set[tuple[str, str]] = set()

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        await yard.server.app(scope, receive, send)
        entered.add((scope["method"], str(scope["state"]["route"])))

    client = Client(watched, ADDRESS, headers={"Authorization": f"Bearer {MEMBER}"})
    for opened in [*DOORS.values(), *DOORS_OF_MLFLOW.values()]:
        opened(client, yard, "no/such/file")
    document = yard.client().get(f"{API}/openapi.json").json()
    taking = {row for row in TABLE if takes_a_path(yard, document, *row)}
    assert len(taking) > 40
    assert taking - entered == set()


def test_a_new_route_with_a_path_would_be_missed(yard: Yard) -> None:
    document = {"paths": {f"{API}/new": {"post": {"parameters": [{"name": "target_path", "in": "query"}]}}}}
    assert takes_a_path(yard, document, "POST", f"{API}/new")
    nested = {"properties": {"a": {"items": {"properties": {"script": {}}}}}}
    document = {
        "paths": {f"{API}/new": {"post": {"requestBody": {"content": {"application/json": {"schema": nested}}}}}}
    }
    assert takes_a_path(yard, document, "POST", f"{API}/new")
    assert not takes_a_path(yard, {"paths": {}}, "POST", f"{API}/runs")
