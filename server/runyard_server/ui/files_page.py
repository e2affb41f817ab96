"""Files of runs, models and datastores: looked at on a page, saved, and folders browsed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from runyard.errors import DatastoreException, FileNotInRunError
from runyard.protocol.pictures import picture_type
from runyard_server.routes import Routes
from runyard_server.services.container import Services
from runyard_server.services.reading import is_log
from runyard_server.ui import previews
from runyard_server.ui.previews import Preview
from runyard_server.ui.rendering import HEADERS
from runyard_server.ui.visits import Page, onward, page, services

router = Routes(route_class=Page)

# What somebody's script wrote is saved or drawn as a picture; nothing that it holds can run.
_QUIET = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cache-Control": "private, no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Crumb:
    """A step of the way to a page: a text, and where it leads ("" for here)."""

    text: str
    address: str = ""


@dataclass(frozen=True)
class FileView:
    """A file. ``log`` is the address of its page as a log, "" where it is none."""

    name: str
    size_bytes: int
    crumbs: Sequence[Crumb]
    preview: Preview
    picture: str
    download: str
    log: str = ""


@router.get("/runs/{run_id}/files/{path:path}")
def run_file(request: Request, run_id: str, path: str) -> HTMLResponse:
    """A file of a run, looked at."""
    held = services(request)
    run = held.runs.get(run_id)
    location, size_bytes = _of_run(held, run_id, path)
    root = f"/runs/{quote(run_id, safe='')}"
    crumbs = [
        Crumb("Experiments", "/experiments"),
        Crumb(run.experiment, f"/runs?experiment={quote(run.experiment, safe='')}"),
        Crumb(run.display_name or f"Run {run.number}", root),
        Crumb("Files", f"{root}#files"),
    ]
    log = f"{root}/log?name={quote(path, safe='')}" if is_log(path) else ""
    return _looked_at(request, "runs", path, location, size_bytes, crumbs, root, log)


@router.get("/models/{name}/{version}/files/{path:path}")
def model_file(request: Request, name: str, version: int, path: str) -> HTMLResponse:
    """A file of a model, looked at."""
    location, size_bytes = _of_model(services(request), name, version, path)
    of_name = f"/models/{quote(name, safe='')}"
    root = f"{of_name}/{version}"
    crumbs = [Crumb("Models", "/models"), Crumb(name, of_name), Crumb(f"Version {version}", root)]
    return _looked_at(request, "models", path, location, size_bytes, crumbs, root)


@router.get("/datastores")
def datastores(request: Request) -> HTMLResponse:
    """All datastores."""
    return page(request, "datastores.html", "datastores", datastores=services(request).datastores.list())


@router.get("/datastores/{name}")
def datastore(request: Request, name: str, folder: str = "") -> Response:
    """A folder of a datastore, the first one where none is named. What is a file after all has its own page."""
    held = services(request)
    known = held.datastores.get(name)
    path = folder.strip("/")
    root = f"/datastores/{quote(name, safe='')}"
    if path and held.datastores.local_path(name, path).is_file():
        return onward(f"{root}/files/{quote(path)}")
    places, more = held.datastores.browse(name, path)
    return page(
        request,
        "datastore.html",
        "datastores",
        datastore=known,
        root=root,
        folder=path,
        crumbs=_way(name, path),
        places=places,
        more=more,
    )


@router.get("/datastores/{name}/files/{path:path}")
def datastore_file(request: Request, name: str, path: str) -> HTMLResponse:
    """A file of a datastore, looked at."""
    location, size_bytes = _of_datastore(services(request), name, path)
    root = f"/datastores/{quote(name, safe='')}"
    crumbs = _way(name, path.rpartition("/")[0])
    return _looked_at(request, "datastores", path.rpartition("/")[2], location, size_bytes, crumbs, root, full=path)


def _way(name: str, path: str) -> list[Crumb]:
    root = f"/datastores/{quote(name, safe='')}"
    crumbs = [Crumb("Data", "/datastores"), Crumb(name, root)]
    above = ""
    for part in path.split("/") if path else ():
        above = f"{above}/{part}" if above else part
        crumbs.append(Crumb(part, f"{root}?folder={quote(above, safe='')}"))
    return crumbs


def _looked_at(
    request: Request,
    section: str,
    name: str,
    location: Path,
    size_bytes: int,
    crumbs: Sequence[Crumb],
    root: str,
    log: str = "",
    full: str = "",
) -> HTMLResponse:
    path = quote(full or name)
    shown = previews.preview(name, size_bytes, lambda most: _head(location, most))
    view = FileView(name, size_bytes, crumbs, shown, f"{root}/pictures/{path}", f"{root}/downloads/{path}", log)
    answer = page(request, "file.html", section, view=view)
    if shown.kind == "notebook":  # its pictures are part of the page
        policy = HEADERS["Content-Security-Policy"].replace("img-src 'self'", "img-src 'self' data:")
        answer.headers["Content-Security-Policy"] = policy
    return answer


# Bytes


@router.get("/runs/{run_id}/pictures/{path:path}")
def run_picture(request: Request, run_id: str, path: str) -> Response:
    """A picture of a run, for its page."""
    return _picture(path, *_of_run(services(request), run_id, path))


@router.get("/models/{name}/{version}/pictures/{path:path}")
def model_picture(request: Request, name: str, version: int, path: str) -> Response:
    """A picture of a model, for its page."""
    return _picture(path, *_of_model(services(request), name, version, path))


@router.get("/datastores/{name}/pictures/{path:path}")
def datastore_picture(request: Request, name: str, path: str) -> Response:
    """A picture of a datastore, for its page."""
    return _picture(path, *_of_datastore(services(request), name, path))


@router.get("/runs/{run_id}/downloads/{path:path}")
def run_download(request: Request, run_id: str, path: str) -> Response:
    """A file of a run, to be saved."""
    return _saved(path, *_of_run(services(request), run_id, path))


@router.get("/models/{name}/{version}/downloads/{path:path}")
def model_download(request: Request, name: str, version: int, path: str) -> Response:
    """A file of a model, to be saved."""
    return _saved(path, *_of_model(services(request), name, version, path))


@router.get("/datastores/{name}/downloads/{path:path}")
def datastore_download(request: Request, name: str, path: str) -> Response:
    """A file of a datastore, to be saved."""
    return _saved(path, *_of_datastore(services(request), name, path))


def _of_run(held: Services, run_id: str, path: str) -> tuple[Path, int]:
    stored = held.files.open(run_id, path)
    return stored.location, stored.entry.size


def _of_model(held: Services, name: str, version: int, path: str) -> tuple[Path, int]:
    (found,) = held.models.pack(name, version, [path])
    assert found.path is not None
    return found.path, found.size


def _of_datastore(held: Services, name: str, path: str) -> tuple[Path, int]:
    location = held.datastores.local_path(name, path)
    if not location.is_file():
        raise DatastoreException(f"The datastore {name!r} has no file {path[:200]!r}.")
    return location, location.stat().st_size


def _head(location: Path, most: int) -> bytes:
    with location.open("rb") as source:
        return source.read(most)


def _picture(path: str, location: Path, size_bytes: int) -> Response:
    content = _head(location, previews.PICTURE_BYTES)
    media = picture_type(content)
    if media is None or size_bytes > len(content):
        raise FileNotInRunError(f"{path[:200]!r} is no picture that is shown here. Download it.")
    return Response(content, media_type=media, headers=_QUIET)


def _saved(path: str, location: Path, size_bytes: int) -> Response:
    name = path.rpartition("/")[2]
    return FileResponse(location, filename=name, media_type="application/octet-stream", headers=_QUIET)
