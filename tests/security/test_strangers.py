"""Who has no token, from a fresh install on: refused on every route and every protocol, and nothing of it is kept."""

import asyncio
import os
import re
import socket
import stat
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from runyard_server.__main__ import main
from runyard_server.api.roles import TABLE, Role
from runyard_server.app import application
from runyard_server.settings import Settings
from runyard_server.testing.client import Client

from .attacks import attack
from .conftest import ADDRESS, Listening, Yard, pack_of, status_of
from .doors import API, DIGEST, DOORS
from .test_paths import disk

FILE_ROUTES = sorted(
    (method, path)
    for method, path in TABLE
    if re.search(r"/(files|pack|logs|objects|snapshots|metrics|plan)(/|$)", path) and path.startswith("/api/")
)


@pytest.mark.parametrize(
    "request_line",
    [
        "POST /api/jobs/",
        "GET /api/jobs/x/logs",
        "POST /api/v1/runs",
        "GET /api/v1/runs",
        "GET /api/v1/openapi.json",
        "GET /metrics",
        "TRACE /api/v1/runs",
        "OPTIONS /api/v1/runs",
        "PROPFIND /",
    ],
)
@attack(
    34,
    "Ray CVE-2023-48022",
    "jobs are submitted to a server as it was installed, with no credentials",
    "401 on every path but health and static files; the token is made at the first start, there is no default",
)
def test_attack_34_a_fresh_server_takes_nothing_from_who_has_no_token(listening: Listening, request_line: str) -> None:
    body = '{"entrypoint": "id", "submission_id": "x"}'
    answer = listening.ask(request_line, headers="Content-Type: application/json\r\n", token=False, body=body)
    assert status_of(answer) == 401
    assert b'"runs"' not in answer and b"uid=" not in answer


def test_a_fresh_server_listens_on_this_machine_alone(listening: Listening) -> None:
    """Only a real socket shows where it is bound."""
    inodes = set(_open_files(listening.home))
    bound = [
        line.split()[1].split(":")[0]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and f"socket:[{line.split()[9]}]" in inodes
    ]
    assert bound == ["0100007F"]  # 127.0.0.1


def _open_files(home: Path) -> Iterator[str]:
    """What the process whose command line names ``home`` has open."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            is_its = str(home).encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            descriptors = os.listdir(f"/proc/{pid}/fd") if is_its else []
        except OSError:
            continue  # it ended meanwhile
        for descriptor in descriptors:
            try:
                yield os.readlink(f"/proc/{pid}/fd/{descriptor}")
            except FileNotFoundError:
                continue  # it was closed meanwhile


@attack(
    31,
    "CVE-2025-10279, CVE-2026-4137",
    "another local user swaps or reads a file in a folder that everyone may write to",
    "folders 0700 and files 0600 whatever the umask; nothing in a shared temporary folder",
)
def test_attack_31_what_the_server_writes_is_its_owners_alone(listening: Listening) -> None:
    """A real process, started with umask 0, shows the modes that a careless shell would give."""
    assert status_of(listening.ask("PUT /api/v1/experiments/mine")) == 200
    script = b"import os\nopen('outputs/mine', 'w').write('private')\nprint(os.getcwd())\n"
    digest = sha256(script).hexdigest()
    stored = listening.ask(f"POST {API}/objects", body=pack_of({digest: script}).decode("latin-1"))
    assert status_of(stored) == 200
    files = [{"path": "train.py", "size": len(script), "digest": digest}]
    snapshot = listening.tell(f"POST {API}/snapshots", {"files": files})["id"]
    built = listening.tell(f"POST {API}/environment-builds", {"name": "mine", "pip_options": ["--no-index"]})["id"]
    wanted = {"experiment": "mine", "snapshot": snapshot, "script": "train.py"}
    mine = {"user_managed": True, "interpreter": sys.executable}
    run_id = listening.tell(f"POST {API}/runs", {**wanted, "environment": mine})["id"]

    while listening.tell(f"GET {API}/runs/{run_id}")["status"] not in ("Completed", "Failed"):
        assert open_to_others(listening.home) == []  # nor meanwhile
    assert listening.tell(f"GET {API}/runs/{run_id}")["status"] == "Completed"
    while (build := listening.tell(f"GET {API}/environment-builds/{built}"))["status"] not in ("Succeeded", "Failed"):
        pass
    assert build["status"] == "Succeeded", build
    assert open_to_others(listening.home) == []
    # What others could read of packages, which lie in uv's cache too, is behind folders that are closed to them.
    of_all_workspaces = listening.home.parent / "runyard"
    assert (of_all_workspaces / "environments").is_dir()
    assert [path for path in [of_all_workspaces, *of_all_workspaces.iterdir()] if path.stat().st_mode & 0o077] == []
    assert list(listening.temporary.iterdir()) == []
    assert stat.S_IMODE((listening.home / "server.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((listening.home / "secrets.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(listening.home.stat().st_mode) == 0o700


def open_to_others(home: Path) -> list[str]:
    """What of a home others may read or write."""
    found = []
    for path in [str(home), *disk(home)]:
        try:
            state = os.lstat(path)
        except FileNotFoundError:
            continue  # it has gone meanwhile
        if not stat.S_ISLNK(state.st_mode) and state.st_mode & 0o077:
            found.append(path)
    return found


@pytest.mark.parametrize(("method", "path"), FILE_ROUTES)
@attack(
    46,
    "ClearML CVE-2024-24592",
    "uploads and downloads on a file route that the login forgot",
    "401: one guard in front of all routes, and a route that it does not know stops the server's start",
)
def test_attack_46_no_file_goes_in_or_out_without_a_token(yard: Yard, method: str, path: str) -> None:
    assert Role.PUBLIC not in TABLE[method, path]
    values = {
        "run_id": yard.run_id,
        "path:path": "outputs/model/weights.bin",
        "name:path": "azureml-logs/70_driver_log.txt",
        "snapshot_id": yard.snapshot_id,
        "version": "1",
        "name": "mnist" if "/models/" in path else "workspaceblobstore",
    }
    address = re.sub(r"\{([^}]+)\}", lambda hole: values[hole[1]], path)
    before = disk(yard.root)
    answer = yard.client(token=None).request(method, address, content=pack_of({DIGEST: b"weights\n"}))
    assert answer.status_code == 401
    assert b"weights" not in answer.content and b"step 1" not in answer.content
    assert disk(yard.root) == before


@pytest.mark.parametrize("door", DOORS)
def test_no_door_opens_without_a_token(yard: Yard, door: str) -> None:
    assert DOORS[door](yard.client(token=None), yard, "outputs/model/weights.bin").status_code == 401


def test_a_runs_token_reads_no_other_runs_secrets_and_submits_nothing_but_children_of_its_own(yard: Yard) -> None:
    client = yard.client(yard.server.services.tokens.for_run("another-run"))
    for method, address in [
        ("POST", "/api/v1/runs"),
        ("POST", f"/api/v1/runs/{yard.run_id}/children"),
        ("GET", "/api/v1/environments"),
        ("POST", "/api/v1/environment-builds"),
        ("DELETE", "/api/v1/datasets/mnist"),
        ("PATCH", "/api/v1/datasets/mnist/1"),
        ("POST", "/api/v1/datastores"),
        ("POST", f"/api/v1/runs/{yard.run_id}/cancel"),
        ("PUT", f"/api/v1/runs/{yard.run_id}/logs/logs/x?offset=0"),
        ("POST", f"/api/v1/runs/{yard.run_id}/files"),
        ("POST", f"/api/v1/runs/{yard.run_id}/report"),
    ]:
        assert client.request(method, address, json={}).status_code == 403, address


def test_tokens_are_nowhere_in_the_records(yard: Yard) -> None:
    """A copy of the database is no key: tokens of runs and pages are signed statements, the workspace's own a file."""
    tokens = [yard.server.services.tokens.for_run(yard.run_id), yard.server.services.tokens.ticket()]
    content = b"".join(path.read_bytes() for path in yard.home.glob("records.db*"))
    for token in [*tokens, "the-workspaces-own-token"]:
        assert token.encode() not in content


@attack(
    36,
    "Ray CVE-2026-27482",
    "a method or protocol that the guard forgot: DELETE from another site, a web socket",
    "the guard sees every method; web sockets are closed before they are accepted (there is none)",
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PURGE", "LINK", "CONNECT"])
def test_attack_36_no_method_gets_past_the_guard(yard: Yard, method: str) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    answer = yard.client().request(method, "/api/v1/experiments/mnist", headers=headers)
    assert answer.status_code == 403
    assert yard.client().get("/api/v1/experiments/mnist").status_code == 200


@attack(36, "Ray CVE-2026-27482", "", "")
def test_attack_36_a_web_socket_is_closed_before_it_opens(yard: Yard) -> None:
    sent: list[dict[str, object]] = []

    async def connect() -> None:
        async def receive() -> dict[str, object]:
            return {"type": "websocket.connect"}

        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        headers = [(b"host", b"127.0.0.1:8000"), (b"authorization", b"Bearer the-workspaces-own-token")]
        scope = {
            "type": "websocket",
            "path": f"/api/v1/runs/{yard.run_id}/follow",
            "raw_path": b"/",
            "query_string": b"",
            "headers": headers,
        }
        await yard.server.app(scope, receive, send)  # type: ignore[arg-type]

    asyncio.run(connect())
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_events_need_a_token_too(yard: Yard) -> None:
    stranger = Client(yard.server.app, ADDRESS)
    assert stranger.get(f"/api/v1/runs/{yard.run_id}/follow").status_code == 401
    assert stranger.get(f"/api/v1/runs/{yard.run_id}/follow?ticket=x").status_code == 401


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_an_address_that_others_reach_is_listened_at_only_if_asked_for_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], host: str
) -> None:
    assert main(["--home", str(tmp_path / "home"), "--host", host]) == 2
    assert "--plain-http" in capsys.readouterr().err
    assert not (tmp_path / "home").exists()


def test_a_server_for_others_answers_to_addresses_and_its_own_name_alone(yard: Yard) -> None:
    app = application(yard.server.services, Settings(home=yard.home, host="0.0.0.0").hosts)
    for host, expected in [
        ("192.0.2.7:8000", 200),
        ("[2001:db8::1]:8000", 200),
        (f"{socket.gethostname().lower()}:8000", 200),
        ("evil.example", 400),
        ("192.0.2.7.evil.example", 400),
    ]:
        assert Client(app, ADDRESS).get("/api/v1/health", headers={"Host": host}).status_code == expected, host
