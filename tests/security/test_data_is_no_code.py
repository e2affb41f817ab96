"""Data from others is never run: not by the server, not by a client that lists, looks, compares, downloads, registers."""

import ast
import io
import json
import pickle
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

import runyard
import runyard_server
from runyard.errors import BY_CODE, RunyardError, ServiceException, UserErrorException, from_answer
from runyard.transport.base import Answer, Body, Transport

from .attacks import attack
from .conftest import Yard, pack_of
from .doors import API
from .test_browsers import visitor

PACKAGES = [Path(runyard.__file__).parent, Path(runyard_server.__file__).parent]
# A program of its own, no module of the server: it runs the setup.py of a source whose digest a recipe names.
BUILDING = [("drive_setup.py", "exec")]
# Modules that run, or build objects of any class from, what they are given.
RUNNING = {
    "eval",
    "exec",
    "__import__",
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "marshal",
    "shelve",
    "yaml",
    "joblib",
    "torch",
    "numpy",
}


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (self.path, "w")


@attack(
    33,
    "CVE-2024-37052 to 37060, CVE-2024-24590",
    "a pickle as a model or file, which runs when it is loaded",
    "bytes are bytes: nothing is loaded on the server or by the client that lists, looks, compares, downloads or "
    "registers",
)
def test_attack_33_a_pickle_is_never_loaded(yard: Yard, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    content = pickle.dumps(Trap(str(sprung)))
    digest = sha256(content).hexdigest()
    client = yard.client()
    assert client.post(f"{API}/objects", content=pack_of({digest: content})).status_code == 200
    paths = ["outputs/trap/model.pkl", "outputs/trap/MLmodel", "outputs/trap/conda.yaml", "outputs/trap/weights.joblib"]
    listed = [{"path": path, "size": len(content), "digest": digest} for path in paths]
    assert client.post(f"{API}/runs/{yard.run_id}/files", json={"files": listed}).status_code == 200
    wanted = {"name": "trap", "run_id": yard.run_id, "model_path": "outputs/trap"}
    assert client.post(f"{API}/models", json=wanted).status_code == 200
    for address in ("runs/{run}/files", "runs/{run}/files/outputs/trap/model.pkl", "runs/{run}/verify", "models/trap"):
        assert client.get(f"{API}/{address.format(run=yard.run_id)}").status_code == 200
    assert client.post(f"{API}/models/trap/1/pack", json={"paths": ["trap/model.pkl"]}).status_code == 200
    for page in (
        f"/runs/{yard.run_id}",
        f"/compare?run={yard.run_id}&run={yard.given_id}",
        *(f"/runs/{yard.run_id}/files/{path}" for path in paths),
        f"/runs/{yard.run_id}/downloads/{paths[0]}",
        "/models",
        "/models?name=trap",
        "/models/trap/1",
        *(f"/models/trap/1/files/{path.removeprefix('outputs/')}" for path in paths),
    ):
        assert client.get(page, headers=visitor(yard)).status_code == 200, page
    assert client.get(f"/runs/{yard.run_id}/pictures/{paths[0]}", headers=visitor(yard)).status_code == 404
    assert not sprung.exists()
    pickle.loads(content).close()  # noqa: S301 - the trap works: it would have been seen
    assert sprung.exists()


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_no_module_can_run_data(package: Path) -> None:
    found = []
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            named: list[str] = []
            if isinstance(node, ast.Import):
                named = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                named = [node.module or ""]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                named = [node.func.id]
            found += [(path.name, name) for name in named if name.split(".")[0] in RUNNING]
    assert found == [name for name in BUILDING if name[0] in {path.name for path in package.rglob("*.py")}]


@pytest.mark.parametrize(
    "code", ["os.system", "builtins.SystemExit", "SystemExit", "subprocess.Popen", "__class__", ""]
)
@pytest.mark.parametrize("status", [400, 404, 500])
@attack(
    44,
    "aim#3421",
    "a server answers with the name of a class, which the client imports and calls",
    "the client knows a fixed table of codes; another code becomes a plain error of runyard",
)
def test_attack_44_a_server_names_no_class_that_is_not_in_the_table(code: str, status: int) -> None:
    answered = {"error": {"code": code, "message": "id > /tmp/x", "details": {"__class__": "os.system"}}}
    fault = from_answer(status, answered)
    assert type(fault) is (ServiceException if status >= 500 else UserErrorException)
    assert all(issubclass(known, RunyardError) for known in BY_CODE.values())


class Says(Transport):
    """A server that answers every request alike."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status, self.body = status, body

    def send(
        self, method: str, path: str, body: Body | None, headers: dict[str, str], stream: bool, timeout_s: float | None
    ) -> Answer:
        return Answer(self.status, {}, io.BytesIO(self.body))


@pytest.mark.parametrize("status", [200, 400, 404, 500])
@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"error": []}',
        b'{"error": {"code": [1]}}',
        json.dumps("x").encode(),
        b"",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_an_answer_that_makes_no_sense_is_an_error_of_ours(status: int, body: bytes) -> None:
    try:
        Says(status, body).call("GET", "/runs")
    except RunyardError:
        return
    assert status == 200 and body[:1] in (b"{", b'"', b"")
