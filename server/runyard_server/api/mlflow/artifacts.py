"""MLflow's routes of artifacts: listed by run, and up and down through the server, which alone knows where they lie.

An address below ``mlflow-artifacts:/`` is ``<experiment>/<run>/artifacts/<path>``, or ``models/<name>/<version>/<path>``
for the files of a registered version. Nothing of it is a place on a disk: it is looked up in the records.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from typing_extensions import TypedDict

from runyard.errors import FileNotInRunError, ModelNotFoundException, PathRefusedError
from runyard.protocol.files import FileEntry, Manifest
from runyard.protocol.runs import RunRecord
from runyard_server.api.context import services
from runyard_server.api.mlflow import words
from runyard_server.api.mlflow.failures import absent, invalid
from runyard_server.api.mlflow.runs import check_active, experiment_of, find
from runyard_server.api.streams import content_length, file_response
from runyard_server.domain.paths import relative
from runyard_server.routes import Routes

router = Routes("/api/2.0")

_DECODED_AT_MOST = 8  # times that what is left of a code is decoded, to see what somebody might make of it


class File(TypedDict, total=False):
    path: str
    is_dir: bool
    file_size: int


class RunFiles(TypedDict):
    root_uri: str
    files: list[File]


class Files(TypedDict):
    files: list[File]


@dataclass(frozen=True)
class Place:
    """What an address names: a path ("" for all) among the files of a run or of a version of a model."""

    path: str
    run: RunRecord | None = None
    model: tuple[str, int] | None = None


def checked(path: str) -> str:
    """A path from a client, as it is. Raises MlflowRefusal where it is not plain, also to who decodes it once more."""
    meant = path
    try:
        for _ in range(_DECODED_AT_MOST):
            relative(meant)
            meant, before = unquote(meant), meant
            if meant == before:
                return path
    except PathRefusedError:
        pass
    raise invalid("Invalid path")


def place_of(request: Request, address: str) -> Place:
    """What an address below ``mlflow-artifacts:/`` names.

    Raises:
        MlflowRefusal: it is not plain, or names nothing that is here.
        PermissionDeniedError: it is another run's than the token's.
    """
    parts = checked(address).split("/")
    if parts[0] == "models" and len(parts) >= 3:
        version = parts[2]
        if not version.isdecimal() or not version.isascii() or len(version) > 9:
            raise absent(f"There is no version {version[:50]!r} of a model.")
        return Place(_path(parts), model=(parts[1], int(version)))
    if len(parts) < 3 or parts[2] != "artifacts":
        raise absent(f"No artifacts lie at {address[:200]!r}. Ask a run for its artifact_uri.")
    run = find(request, parts[1])
    if words.experiment_id(experiment_of(request, run)) != parts[0]:
        raise absent(f"No artifacts lie at {address[:200]!r}. Ask a run for its artifact_uri.")
    return Place(_path(parts), run=run)


def _path(parts: Sequence[str]) -> str:
    # Once more by itself: what is no drive in the middle of an address is one at the beginning of a path.
    return checked("/".join(parts[3:])) if len(parts) > 3 else ""


def below(entries: Sequence[FileEntry], path: str) -> list[File]:
    """What lies directly in a folder ("" for the uppermost), each with its whole path, by name."""
    prefix = path + "/" if path else ""
    found: dict[str, File] = {}
    for entry in entries:
        if entry.path.startswith(prefix):
            name, inner, _ = entry.path[len(prefix) :].partition("/")
            if inner:
                found[name] = File(path=prefix + name, is_dir=True)
            else:
                found[name] = File(path=prefix + name, is_dir=False, file_size=entry.size)
    return [found[name] for name in sorted(found)]


@router.get("/mlflow/artifacts/list")
def list_of_run(
    request: Request, run_id: str | None = None, run_uuid: str | None = None, path: str | None = None
) -> Any:
    """What lies in a folder of a run's files."""
    folder = checked(path) if path else ""
    record = find(request, run_id, run_uuid)
    root = words.artifact_uri(record, words.experiment_id(experiment_of(request, record)))
    return {"root_uri": root, "files": below(services(request).files.list(record.id), folder)}


@router.get("/mlflow-artifacts/artifacts")
def list_files(request: Request, path: str = "") -> Any:
    """What lies in a folder; paths are told from that folder on."""
    if not path:
        raise invalid("Invalid path: name a run's artifacts, as its artifact_uri does.")
    place = place_of(request, path)
    start = len(place.path) + 1 if place.path else 0
    files = below(_files(request, place), place.path)
    return {"files": [File(**{**file, "path": file["path"][start:]}) for file in files]}


@router.get("/mlflow-artifacts/artifacts/{path:path}")
def fetch(path: str, request: Request) -> StreamingResponse:
    """One file, as an attachment."""
    place, held = place_of(request, path), services(request)
    try:
        if place.run is not None:
            stored = held.files.open(place.run.id, place.path)
            location, size = stored.location, stored.entry.size
        else:
            assert place.model is not None
            (entry,) = held.models.pack(*place.model, [place.path])
            assert entry.path is not None
            location, size = entry.path, entry.size
    except (FileNotInRunError, ModelNotFoundException) as fault:
        raise absent(str(fault)) from None
    return file_response(location, place.path.rpartition("/")[2], size, request.headers.get("range"))


@router.put("/mlflow-artifacts/artifacts/{path:path}")
async def keep(path: str, request: Request) -> dict[str, Any]:
    """Keeps the body as a file of a run, in place of one of the same path."""
    run_id, place = await run_in_threadpool(writable, request, path)
    digest, size = await services(request).objects.take(request.stream(), content_length(request))
    await run_in_threadpool(commit, request, run_id, place, digest, size)
    return {}


def commit(request: Request, run_id: str, path: str, digest: str, size: int) -> None:
    """Lists a content that is in the store as a file of a run."""
    services(request).files.commit(run_id, Manifest([FileEntry(path, size, digest)]), overwrite=True)


def writable(request: Request, address: str, name: str = "") -> tuple[str, str]:
    """The run, and the path among its files, where one can be put: at an address, or under a name in that folder.

    Raises:
        MlflowRefusal: nothing can be put there.
        PermissionDeniedError: see ``place_of``.
    """
    place = place_of(request, address)
    path = checked("/".join(filter(None, (place.path, name)))) if name else place.path
    if place.run is None or not path:
        raise invalid(f"No file can be put at {address[:200]!r}: only runs take files, below their artifact_uri.")
    check_active(place.run)
    return place.run.id, path


def _files(request: Request, place: Place) -> Sequence[FileEntry]:
    held = services(request)
    if place.run is not None:
        return held.files.list(place.run.id)
    assert place.model is not None
    try:
        return held.models.get(*place.model).files
    except ModelNotFoundException as fault:
        raise absent(str(fault)) from None
