"""MLflow's routes of files that come in parts: begun, each part on an address of its own, put together or given up.

MLflow's client speaks so where ``MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD`` is set. Its parts it sends to whatever addresses
it is told, with the headers that it is told, and nothing of its own: so it is told its own token.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from typing_extensions import TypedDict

from runyard_server.api.context import services
from runyard_server.api.mlflow.artifacts import commit, writable
from runyard_server.api.mlflow.failures import invalid
from runyard_server.api.mlflow.runs import check_active, find
from runyard_server.api.streams import content_length
from runyard_server.routes import Routes

router = Routes("/api/2.0/mlflow-artifacts/mpu")

_SLASH = re.compile(r"[/\\]")


@dataclass(frozen=True)
class Beginning:
    """``path``: of the file on the client's machine. It names the file here, and its folders say nothing."""

    path: str
    num_parts: int = 1


@dataclass(frozen=True)
class Part:
    part_number: int
    etag: str
    url: str | None = None


@dataclass(frozen=True)
class Completion:
    path: str
    upload_id: str
    parts: list[Part] = field(default_factory=list)


@dataclass(frozen=True)
class Abortion:
    path: str
    upload_id: str


class Credential(TypedDict):
    url: str
    part_number: int
    headers: dict[str, str]


class Upload(TypedDict):
    upload_id: str
    credentials: list[Credential]


@router.post("/create/{path:path}")
def create(path: str, said: Beginning, request: Request) -> Any:
    """Begins a file: where each of its parts is to be put. ``path``: of the folder."""
    run_id, place = _file(request, path, said.path)
    held = services(request)
    upload_id = held.uploads.begin(run_id, place, said.num_parts)
    root = f"{held.pages.root_for(request.url.netloc)}{router.prefix}/parts/{upload_id}"
    headers = {"Authorization": request.headers.get("authorization", "")}
    parts = range(1, said.num_parts + 1)
    credentials = [Credential(url=f"{root}/{number}", part_number=number, headers=headers) for number in parts]
    return Upload(upload_id=upload_id, credentials=credentials)


@router.put("/parts/{upload_id}/{part_number}")
async def put(upload_id: str, part_number: int, request: Request) -> JSONResponse:
    """Takes the body as a part. Its ETag is the digest of its bytes."""
    uploads = services(request).uploads
    run_id = uploads.run_of(upload_id)
    await run_in_threadpool(lambda: check_active(find(request, run_id)))
    digest = await uploads.put(upload_id, part_number, request.stream(), content_length(request))
    return JSONResponse({}, headers={"ETag": f'"{digest}"'})


@router.post("/complete/{path:path}")
def complete(path: str, said: Completion, request: Request) -> Any:
    """Puts the parts together and lists the file among the run's, in place of one of the same path."""
    run_id, place = _file(request, path, said.path)
    named = {part.part_number: part.etag.strip('"') for part in said.parts}
    if len(named) < len(said.parts):
        raise invalid("A part is named twice.")
    digest, size = services(request).uploads.join(said.upload_id, run_id, place, named)
    commit(request, run_id, place, digest, size)
    return {}


@router.post("/abort/{path:path}")
def abort(path: str, said: Abortion, request: Request) -> Any:
    """Gives a file up; what came of it is removed."""
    services(request).uploads.abort(said.upload_id, *_file(request, path, said.path))
    return {}


def _file(request: Request, folder: str, local: str) -> tuple[str, str]:
    """The run and the path among its files of a file of a client's machine. Raises as ``writable``."""
    name = _SLASH.split(local)[-1]
    if not name:
        raise invalid(f"{local[:200]!r} names no file.")
    return writable(request, folder, name)
