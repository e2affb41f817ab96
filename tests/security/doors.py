"""Every way by which a path from outside enters the server, as a request that can be made with any path.

``test_doors.py`` knows from the table of routes and the OpenAPI document which these are, and misses one that is new.
"""

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import httpx

from runyard_server.testing.client import Client

from .conftest import CONTENT, Yard, pack_of

API = "/api/v1"
DIGEST = sha256(CONTENT).hexdigest()
Door = Callable[[Client, Yard, str], httpx.Response]


def _entry(path: str) -> dict[str, Any]:
    return {"path": path, "size": len(CONTENT), "digest": DIGEST}


def _quoted(path: str) -> str:
    # Dots too: a client would take ".." out of an address by itself, and the server would never see it.
    return quote(path, safe="", errors="surrogatepass").replace(".", "%2E")


def _json(client: Client, address: str, body: Any) -> httpx.Response:
    """Sends JSON as any client may write it: with escapes, so that halves of surrogate pairs travel too."""
    return client.post(address, content=json.dumps(body).encode(), headers={"Content-Type": "application/json"})


def _store(name: str) -> str:
    return f"{API}/datastores/workspaceblobstore/{name}"


def _page(address: str) -> Door:
    """A page with a path at its address's end."""
    return lambda client, yard, path: client.get(
        address.format(run=yard.run_id, submitted=yard.given_id) + _quoted(path)
    )


def _run(yard: Yard, **more: Any) -> dict[str, Any]:
    return {"experiment": "mnist", "snapshot": yard.snapshot_id, "script": "train.py", **more}


def _referring(yard: Yard, path: str) -> dict[str, Any]:
    return _run(yard, data_references=[{"name": "d", "datastore": "workspaceblobstore", "path": path}])


DOORS: dict[str, Door] = {
    "read a file": lambda c, y, path: c.get(f"{API}/runs/{y.run_id}/files/{_quoted(path)}"),
    "read what a run was given": lambda c, y, path: _json(
        c, f"{API}/runs/{y.given_id}/given/MODEL_LOCATION/pack", {"paths": [path]}
    ),
    "read files": lambda c, y, path: _json(c, f"{API}/runs/{y.run_id}/files/pack", {"paths": [path]}),
    "add a file": lambda c, y, path: _json(c, f"{API}/runs/{y.run_id}/files", {"files": [_entry(path)]}),
    "read a log": lambda c, y, path: c.get(f"{API}/runs/{y.run_id}/logs/{_quoted(path)}"),
    "append to a log": lambda c, y, path: c.request(
        "PUT", f"{API}/runs/{y.run_id}/logs/{_quoted(path)}?offset=0", content=b"x\n"
    ),
    "write metrics": lambda c, y, path: c.post(
        f"{API}/runs/{y.run_id}/metrics?offset=0&writer={_quoted(path)}", content=b""
    ),
    "make a snapshot": lambda c, y, path: _json(c, f"{API}/snapshots", {"files": [_entry(path)]}),
    "register a model of a run": lambda c, y, path: _json(
        c, f"{API}/models", {"name": "evil", "run_id": y.run_id, "model_path": path}
    ),
    "register a model of files": lambda c, y, path: _json(
        c, f"{API}/models", {"name": "evil", "root": "m", "files": [_entry(path)]}
    ),
    "name a model's root": lambda c, y, path: _json(
        c, f"{API}/models", {"name": "evil", "root": path, "files": [_entry(f"{path}/f")]}
    ),
    "read a model's files": lambda c, y, path: _json(c, f"{API}/models/mnist/1/pack", {"paths": [path]}),
    "plan an upload": lambda c, y, path: _json(c, _store("plan"), {"files": [_entry(path)]}),
    "plan an upload below": lambda c, y, path: _json(c, _store("plan"), {"files": [_entry("f")], "target_path": path}),
    "upload": lambda c, y, path: c.post(
        _store("files"), content=pack_of({f"{DIGEST}/{path}": CONTENT}, errors="surrogatepass")
    ),
    "upload below": lambda c, y, path: c.post(
        f"{_store('files')}?target_path={_quoted(path)}", content=pack_of({f"{DIGEST}/f": CONTENT})
    ),
    "expect an upload": lambda c, y, path: _json(c, _store("files/expect"), {"paths": [path]}),
    "expect an upload below": lambda c, y, path: _json(
        c, f"{_store('files/expect')}?target_path={_quoted(path)}", {"paths": ["f"]}
    ),
    "fetch a datastore's files": lambda c, y, path: _json(c, _store("files/handover"), {"paths": [path]}),
    "read a datastore's files": lambda c, y, path: _json(c, _store("files/pack"), {"paths": [path]}),
    "attach a folder": lambda c, y, path: _json(c, f"{API}/datastores", {"name": "evil", "settings": {"path": path}}),
    "refer to data": lambda c, y, path: _json(c, f"{API}/runs", _referring(y, path)),
    "name a script": lambda c, y, path: _json(c, f"{API}/runs", _run(y, script=path)),
    "check a run that refers to data": lambda c, y, path: _json(c, f"{API}/runs/check", _referring(y, path)),
    "check a script": lambda c, y, path: _json(c, f"{API}/runs/check", _run(y, script=path)),
    "refer to a child's data": lambda c, y, path: _json(c, f"{API}/runs/{y.given_id}/children", _referring(y, path)),
    "name a child's script": lambda c, y, path: _json(c, f"{API}/runs/{y.given_id}/children", _run(y, script=path)),
    "put out a dataset": lambda c, y, path: _json(
        c,
        f"{API}/runs",
        _run(
            y,
            output_datasets=[{"output_name": "o", "name": "evil", "datastore": "workspaceblobstore", "path": path}],
        ),
    ),
    "define a dataset": lambda c, y, path: _json(
        c,
        f"{API}/datasets",
        {
            "id": "00000000-0000-4000-8000-00000000000d",
            "name": "evil",
            "definition": {"kind": "file", "sources": [{"datastore": "workspaceblobstore", "path": path}]},
        },
    ),
    "fetch files": lambda c, y, path: _json(c, f"{API}/runs/{y.run_id}/files/handover", {"paths": [path]}),
    "fetch what a run was given": lambda c, y, path: _json(
        c, f"{API}/runs/{y.given_id}/given/MODEL_LOCATION/handover", {"paths": [path]}
    ),
    "fetch a model's files": lambda c, y, path: _json(c, f"{API}/models/mnist/1/handover", {"paths": [path]}),
    "look at a file of a run": _page("/runs/{run}/files/"),
    "look at a picture of a run": _page("/runs/{run}/pictures/"),
    "save a file of a run": _page("/runs/{run}/downloads/"),
    "look at a log of a run": _page("/runs/{run}/log?name="),
    "search a log of a run": _page("/runs/{run}/log/matches?text=x&name="),
    "look at a file of a run's code": _page("/runs/{submitted}/code?file="),
    "look at a file of a model": _page("/models/mnist/1/files/"),
    "look at a picture of a model": _page("/models/mnist/1/pictures/"),
    "save a file of a model": _page("/models/mnist/1/downloads/"),
    "look at a file of a datastore": _page("/datastores/workspaceblobstore/files/"),
    "look at a picture of a datastore": _page("/datastores/workspaceblobstore/pictures/"),
    "save a file of a datastore": _page("/datastores/workspaceblobstore/downloads/"),
    "look into a folder of a datastore": _page("/datastores/workspaceblobstore?folder="),
}

READING = [door for door in DOORS if door.split()[0] in ("read", "fetch", "look", "search", "save")]
