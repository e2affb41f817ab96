"""The OpenAPI document: FastAPI's of the requests, completed with every answer that can come and every limit that holds.

It is made at the first request for it, so that a server's start does not pay for it.
"""

from collections.abc import Iterator, Sequence
from http.client import responses as reason_phrases
from typing import Any

from fastapi import Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from starlette.routing import BaseRoute

from runyard.names import RULES
from runyard.protocol.version import API_PREFIX, VERSION
from runyard_server.api.answers import BYTES, CLASH, EVENTS, JSON, PARTIAL, TABLE, Answer
from runyard_server.api.errors import ADDRESSES
from runyard_server.api.errors import SCHEMA as ERROR
from runyard_server.api.mlflow import failures as mlflow
from runyard_server.api.roles import TABLE as ROLES
from runyard_server.api.roles import Role
from runyard_server.domain.paths import MAX_LENGTH
from runyard_server.routes import DeclaredRoute, Routes
from runyard_server.services.retention import MOST_KEPT

router = Routes()

_REFS = "#/components/schemas/"
_DIGEST = {"pattern": "^[0-9a-f]{64}$"}
_DATASET_ID = {"pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"}
_PATH = {"minLength": 1, "maxLength": MAX_LENGTH}


def _name(kind: str) -> dict[str, Any]:
    pattern, shortest, longest = RULES[kind]
    return {"pattern": f"^{pattern}$", "minLength": shortest, "maxLength": longest}


# What a parameter of a path must be like, by (first part of the path, parameter). Others than these are refused.
_PARAMETERS: dict[tuple[str, str], dict[str, Any]] = {
    ("runs", "run_id"): _name("run"),
    ("runs", "path"): _PATH,
    ("runs", "name"): _PATH,  # of a log
    ("runs", "attempt"): {"minimum": 1},
    ("runs", "node"): {"minimum": 0},
    ("job-archive", "digest"): _DIGEST,
    ("job-wheels", "digest"): _DIGEST,
    ("experiments", "name"): _name("experiment"),
    ("computes", "name"): _name("compute"),
    ("environments", "name"): _name("environment"),
    ("environment-cache", "key"): {"pattern": "^[0-9a-f]+$"},  # or the beginning of it
    ("environment-builds", "build_id"): {"pattern": "^[0-9a-f]{32}$"},
    ("dataset-ids", "dataset_id"): _DATASET_ID,
    ("datasets", "name"): _name("dataset"),
    ("datasets", "version"): {},
    ("models", "name"): _name("model"),
    ("models", "version"): {},
    ("snapshots", "snapshot_id"): _DIGEST,
    ("datastores", "name"): _name("datastore"),
    ("retention-rules", "name"): _name("retention rule"),
    ("artifacts", "path"): _PATH,  # MLflow's
    ("mpu", "path"): _PATH,  # MLflow's
    ("mpu", "upload_id"): {"pattern": "^[0-9a-f]{32}$"},
    ("mpu", "part_number"): {"minimum": 1},
    ("logged-models", "model_id"): _name("run"),
    ("logged-models", "tag_key"): {},
}
# The same for fields of request bodies, by (schema, field).
_FIELDS: dict[tuple[str, str], dict[str, Any]] = {
    ("RunSpec", "experiment"): _name("experiment"),
    ("RunSpec", "snapshot"): _DIGEST,
    ("RunSpec", "target"): _name("compute"),
    ("InteractiveRunSpec", "experiment"): _name("experiment"),
    ("DataReferenceSpec", "name"): _name("datastore"),
    ("DataReferenceSpec", "datastore"): _name("datastore"),
    ("ComputeSpec", "name"): _name("compute"),
    ("DatastoreRegistration", "name"): _name("datastore"),
    ("DatasetSpec", "id"): _DATASET_ID,
    ("DatasetSpec", "name"): _name("dataset"),
    ("DatasetSource", "datastore"): _name("datastore"),
    ("ModelSpec", "name"): _name("model"),
    ("RetentionRule", "name"): _name("retention rule"),
    ("RetentionRule", "older_than_days"): {"minimum": 0},
    ("RetentionRule", "keep_newest"): {"minimum": 0, "maximum": MOST_KEPT},
    ("FileEntry", "path"): _PATH,
    ("FileEntry", "digest"): _DIGEST,
    ("FileEntry", "size"): {"minimum": 0},
}


@router.get("/openapi.json")
def openapi(request: Request) -> JSONResponse:
    """This document."""
    held = request.app.state
    if not hasattr(held, "document"):
        held.document = _document(request.app.router.routes)
    return JSONResponse(held.document)


def _document(routes: Sequence[BaseRoute]) -> dict[str, Any]:
    ours = [
        route.worked_out for route in routes if isinstance(route, DeclaredRoute) and route.path.startswith(ADDRESSES)
    ]
    document = get_openapi(title="runyard", version=VERSION, routes=ours)
    shapes, definitions = _shapes()
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for (schema, field), limits in _FIELDS.items():
        _limit(schemas[schema]["properties"][field], limits)
    schemas.update(definitions)
    schemas["Error"] = ERROR
    schemas["MlflowError"] = mlflow.SCHEMA
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for method, path, operation in _operations(document):
        _complete(operation, path, TABLE[method, path], shapes.get((method, path)), _roles(method, path, ours))
    return document


def _shapes() -> tuple[dict[tuple[str, str], Any], dict[str, Any]]:
    """The schema of each JSON answer by route, and the definitions that they refer to."""
    inputs = [(key, "serialization", TypeAdapter(row.shape)) for key, row in TABLE.items() if row.media == JSON]
    found, rest = TypeAdapter.json_schemas(inputs, ref_template=_REFS + "answer.{model}")  # type: ignore[arg-type]
    definitions = {f"answer.{name}": schema for name, schema in rest.get("$defs", {}).items()}
    return {key: schema for (key, _), schema in found.items()}, definitions


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield method.upper(), path, operation


def _roles(method: str, path: str, routes: Sequence[APIRoute]) -> frozenset[Role]:
    declared = {route.path_format: route.path for route in routes}
    return ROLES[method, declared[path]]


def _complete(operation: dict[str, Any], path: str, row: Answer, shape: Any, roles: frozenset[Role]) -> None:
    """Puts a route's limits, body and answers into its operation."""
    if row.body:
        operation["requestBody"] = {"required": False, "content": {row.body: _content(Answer(media=BYTES), None)}}
    parameters = operation.get("parameters", [])
    for parameter in parameters:
        if parameter["in"] == "path":
            _limit(parameter["schema"], _PARAMETERS[_noun(path), parameter["name"]])
    if PARTIAL in row.more:
        parameters.append({"name": "Range", "in": "header", "required": False, "schema": {"type": "string"}})
    told = {"description": "Done.", "content": {row.media: _content(row, shape)}}
    statuses = {400, 405, 500, *row.more}  # 400: the Host header, and what a service refuses
    if Role.PUBLIC not in roles:
        statuses |= {401, 403}
        if Role.RUN in roles:  # what is sent for an attempt that has ended
            statuses |= {CLASH}
        operation["security"] = [{"token": []}]
    if "requestBody" in operation:
        statuses |= {413}
    error = "MlflowError" if mlflow.is_of_mlflow(path) else "Error"
    if ("requestBody" in operation or parameters) and error == "Error":
        statuses |= {422}  # what does not fit is 400 in MLflow's words
    if "{" in path:
        statuses |= {404}
    operation["responses"] = {"200": told}
    for status in sorted(statuses):
        content = told["content"] if status < 300 else {JSON: {"schema": {"$ref": _REFS + error}}}
        operation["responses"][str(status)] = {"description": reason_phrases[status], "content": content}


def _noun(path: str) -> str:
    """What a route is about: the first word behind its prefix."""
    return (
        path.removeprefix(API_PREFIX)
        .removeprefix("/api/2.0/mlflow-artifacts")
        .removeprefix("/api/2.0/mlflow")
        .removeprefix("/ajax-api/2.0/mlflow")
        .split("/")[1]
    )


def _content(row: Answer, shape: Any) -> dict[str, Any]:
    if row.media == JSON:
        return {"schema": shape}
    if row.media == EVENTS:
        kinds = {"type": "string", "enum": ["status", "log", "end"]}
        data = {"type": "string", "contentMediaType": JSON}
        return {"itemSchema": {"type": "object", "required": ["data"], "properties": {"event": kinds, "data": data}}}
    return {"schema": {"type": "string", "format": "binary"}}


def _limit(schema: dict[str, Any], limits: dict[str, Any]) -> None:
    """Adds limits to a schema; where null is allowed too, to the other alternative."""
    for alternative in schema.get("anyOf", [schema]):
        if alternative.get("type") != "null":
            alternative.update(limits)
