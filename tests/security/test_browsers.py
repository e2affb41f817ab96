"""A page of another site, in the browser of whoever runs a server: it can neither send, nor read, nor plant anything."""

import json
import tomllib
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

import pytest
from packaging.requirements import Requirement

from runyard.protocol.models import ModelSpec
from runyard.protocol.retention import RetentionAction, RetentionRule
from runyard.protocol.runs import InteractiveRunSpec, RunChanges, RunError
from runyard_server.api.roles import TABLE
from runyard_server.services.pages import cookie_name
from runyard_server.services.tokens import Identity

from .attacks import attack
from .conftest import ADDRESS, Listening, Yard, pack_of, status_of
from .doors import API

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'`{{7*7}}${7*7}"
REBOUND = [
    "evil.example",
    "evil.example:8000",
    "127.0.0.1.evil.example",
    "evil.example#127.0.0.1",
    "127.0.0.1@evil.example",
    "localhost.evil.example",
    "[::ffff:127.0.0.1]",
    "",
]


def visitor(yard: Yard) -> dict[str, str]:
    """Headers of a browser that has opened a page: it sends the cookie by itself."""
    return {"Cookie": f"{cookie_name(ADDRESS)}={yard.server.services.tokens.ticket()}"}


@pytest.mark.parametrize(
    "media", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@attack(
    22,
    "CVE-2023-43472",
    "a simple request of another site, which a browser sends without asking first",
    "403; and without a browser's headers still 422: JSON is read only where it is said to be JSON",
)
def test_attack_22_a_simple_request_of_another_site_changes_nothing(yard: Yard, media: str, method: str) -> None:
    client = yard.client()
    body = b'{"name": "planted"}'
    said = {"Content-Type": media, "Origin": "https://evil.example"}
    assert client.request(method, f"{API}/computes", headers=said, content=body).status_code == 403
    assert client.post(f"{API}/computes", headers={"Content-Type": media}, content=body).status_code == 422
    assert [target["spec"]["name"] for target in client.get(f"{API}/computes").json()].count("planted") == 0


def test_a_cookie_reads_pages_and_changes_nothing(yard: Yard) -> None:
    client = yard.client(token=None)
    assert client.get("/runs", headers=visitor(yard)).status_code == 200
    for method, address in [
        ("POST", f"{API}/runs"),
        ("DELETE", f"{API}/experiments/mnist"),
        ("PATCH", f"{API}/workspace"),
        ("PUT", f"{API}/runs/{yard.run_id}/logs/logs/x?offset=0"),
    ]:
        assert client.request(method, address, headers=visitor(yard), json={}).status_code == 403


def test_the_cookie_is_neither_a_scripts_nor_another_sites(yard: Yard) -> None:
    answer = yard.client(token=None).get(f"/runs?ticket={yard.server.services.tokens.ticket()}")
    said = answer.headers["set-cookie"].lower()
    assert "httponly" in said and "samesite=strict" in said


def test_no_answer_lets_another_site_read_it(yard: Yard) -> None:
    headers = {**visitor(yard), "Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    for method, address in [("GET", f"{API}/runs"), ("OPTIONS", f"{API}/runs"), ("GET", "/runs")]:
        answer = yard.client(token=None).request(method, address, headers=headers)
        assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("host", REBOUND)
@attack(
    24, "CVE-2025-14279", "a name that was rebound to 127.0.0.1 in the Host header", "400 on every method and route"
)
def test_attack_24_a_rebound_name_is_answered_nothing(listening: Listening, host: str, method: str) -> None:
    """Over a real connection: a parser may make something of a Host that a test client would not send."""
    for path in (f"{API}/health", f"{API}/runs", "/runs", "/static/base.css"):
        answer = listening.ask(f"{method} {path}", host=host)
        assert status_of(answer) == 400


@attack(
    49,
    "Ollama CVE-2024-28224",
    "rebinding to a local server, to routes that ask for no login",
    "400: the Host header is looked at first, on public routes too",
)
def test_attack_49_public_routes_answer_no_rebound_name_either(listening: Listening) -> None:
    """Over a real connection, as a browser would come."""
    mine = listening.ask(f"GET {API}/health", token=False)
    rebound = listening.ask(f"GET {API}/health", host=f"evil.example:{listening.port}", token=False)
    assert (status_of(mine), status_of(rebound)) == (200, 400)
    assert b"instance" in mine and b"instance" not in rebound


@pytest.mark.parametrize(
    "host", ["example.com/api/v1/health?x=", "127.0.0.1/api/v1/health?x=", "127.0.0.1/static/x#", "127.0.0.1#/", "a b"]
)
@attack(
    40,
    "Starlette CVE-2026-48710",
    "a Host header with `/`, `?` or `#`, so that the guard looks at another path than the router",
    "400; guard and router read the same path, which no header touches",
)
def test_attack_40_a_host_header_does_not_move_the_path(listening: Listening, host: str) -> None:
    """Over a real connection: the bytes of the header are the attack."""
    answer = listening.ask(f"GET {API}/runs", host=host, token=False)
    assert status_of(answer) == 400


@attack(40, "Starlette CVE-2026-48710", "", "")
def test_attack_40_no_framework_is_installed_that_has_the_fault() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "server" / "pyproject.toml").read_text())
    asked = [Requirement(line) for line in project["project"]["dependencies"]]
    (starlette,) = [requirement for requirement in asked if requirement.name == "starlette"]
    assert "1.0.0" not in starlette.specifier and version("starlette") in starlette.specifier


def test_two_host_headers_or_an_absolute_target_do_not_fool_the_guard(listening: Listening) -> None:
    """Over a real connection: no client library would send these."""
    two = listening.ask(f"GET {API}/runs", headers="Host: evil.example\r\n", token=False)
    assert status_of(two) in (400, 401)
    absolute = listening.ask(f"GET http://127.0.0.1:{listening.port}{API}/runs", token=False)
    assert status_of(absolute) in (400, 401, 404)
    elsewhere = listening.ask(f"GET http://evil.example{API}/health", host="evil.example", token=False)
    assert status_of(elsewhere) == 400


@attack(
    29,
    "CVE-2024-27132, CVE-2024-27133",
    "markup in names, tags, notes, errors, logs and metrics",
    "escaped everywhere; the pages' policy runs no script but the server's own files",
)
def test_attack_29_what_a_run_says_is_never_markup(yard: Yard) -> None:
    held = yard.server.services
    run = held.runs.start_interactive(
        InteractiveRunSpec(experiment="mnist", id="markup_1", display_name=MARKUP, tags={MARKUP: MARKUP}), by=MARKUP
    )
    held.runs.change(run.id, RunChanges(description=MARKUP, properties={"note": MARKUP}))
    held.logs.append(run.id, "azureml-logs/70_driver_log.txt", 0, MARKUP.encode() + b"\n")
    line = '["s", %s, 0.5, 1.0, 1]\n["s", "text", %s, 1.0]\n' % ((json.dumps(MARKUP),) * 2)
    held.metrics.take(run.id, "client", 0, line.encode())
    held.runs.fail(run.id, RunError("ScriptError", MARKUP, traceback=MARKUP), by=MARKUP)
    client = yard.client()
    for name, content in FILES.items():
        _put(yard, f"outputs/shown/{name}", content)
        pack = pack_of({f"{sha256(content).hexdigest()}/shown/{name}": content})
        assert client.post(f"{API}/datastores/workspaceblobstore/files", content=pack).status_code == 200
    held.models.register(
        ModelSpec(
            name="markup",
            run_id=yard.run_id,
            model_path="outputs/shown",
            description=MARKUP,
            tags={"t": MARKUP},
            properties={MARKUP: MARKUP},
        )
    )
    code = [{"path": name, "size": len(text), "digest": sha256(text).hexdigest()} for name, text in FILES.items()]
    snapshot = client.post(f"{API}/snapshots", json={"files": code}).json()["id"]
    wanted = {"experiment": "mnist", "id": "markup_2", "snapshot": snapshot, "script": NAME, "arguments": [MARKUP]}
    assert client.post(f"{API}/runs", json={**wanted, "environment": {"variables": {"V": MARKUP}}}).status_code == 200
    rule = RetentionRule("markup", RetentionAction.ARCHIVE, where=f"description = {_text(MARKUP)}", keep_newest=9)
    held.retention.add(rule, MARKUP)
    held.tokens.create("<script>alert(1)</script>", "viewer", 60.0, Identity("member"))
    visited = set()
    for route, address in pages_of(yard, run.id):
        answer = yard.client().get(address, headers=visitor(yard))
        assert answer.status_code in (200, 303, 400, 404), (address, answer.status_code)
        visited.add((route, answer.status_code == 200))
        media = answer.headers.get("content-type", "")
        if media.startswith("text/html"):
            assert "<script>alert" not in answer.text and "<img src=x" not in answer.text, address
            policy = answer.headers["content-security-policy"]
            assert "script-src 'self'" in policy and "default-src 'none'" in policy and "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
        else:  # bytes of somebody's, or JSON of the page's own
            assert not media.startswith("image/svg"), address
        assert answer.headers["x-content-type-options"] == "nosniff", address
    assert MARKUP not in yard.client().get(f"/runs/{run.id}", headers=visitor(yard)).text
    pages = {path for method, path in TABLE if method == "GET" and not path.startswith(("/api/", "/ajax-api/"))}
    assert {route for route, was_there in visited if was_there} == pages - {"/static/{name}", "/{name}", "/"}


NAME = "a<script>alert(1)<img src=x onerror=alert(1)>\"'&.txt"
FILES = {NAME: MARKUP.encode(), "page.html": MARKUP.encode() * 2, "dot.png": b"\x89PNG\r\n\x1a\n" + MARKUP.encode()}


def _text(said: str) -> str:
    return '"' + said.replace('"', '""') + '"'


def pages_of(yard: Yard, run_id: str) -> list[tuple[str, str]]:
    """Every page of the role table with the addresses at which it shows, or is told, what somebody wrote."""
    said, file, log = quote(MARKUP, safe=""), quote(f"outputs/shown/{NAME}"), "azureml-logs/70_driver_log.txt"
    one_part, of_store = quote(MARKUP.replace("/", ""), safe=""), "/datastores/workspaceblobstore"
    addresses = {
        "/": ["/"],
        "/runs": [
            "/runs",
            f"/runs?experiment={said}",
            f"/runs?filter={said}",
            f"/runs?column=tags.{said}",
            f"/runs?sort={said}",
        ],
        "/news-of-runs": ["/news-of-runs"],
        "/compare": [f"/compare?run={run_id}&run={yard.run_id}", f"/compare?run={said}"],
        "/charts": [f"/charts?run={run_id}&name={said}"],
        "/runs/{run_id}": [f"/runs/{run_id}", "/runs/markup_2", f"/runs/{run_id}?log={said}", f"/runs/{one_part}"],
        "/runs/{run_id}/live": [f"/runs/{run_id}/live"],
        "/runs/{run_id}/code": [
            "/runs/markup_2/code",
            f"/runs/markup_2/code?other={yard.given_id}",
            f"/runs/{run_id}/code?file={said}",
        ],
        "/runs/{run_id}/environment": [
            "/runs/markup_2/environment",
            f"/runs/markup_2/environment?other={yard.given_id}",
            f"/runs/{run_id}/environment?other={said}",
        ],
        "/runs/{run_id}/log": [f"/runs/{run_id}/log?name={log}", f"/runs/{run_id}/log?name={said}"],
        "/runs/{run_id}/log/matches": [f"/runs/{run_id}/log/matches?name={log}&text={quote('<script>')}"],
        "/runs/{run_id}/files/{path:path}": [f"/runs/{yard.run_id}/files/{file}", f"/runs/{yard.run_id}/files/{said}"],
        "/runs/{run_id}/pictures/{path:path}": [
            f"/runs/{yard.run_id}/pictures/outputs/shown/dot.png",
            f"/runs/{yard.run_id}/pictures/{file}",
        ],
        "/runs/{run_id}/downloads/{path:path}": [f"/runs/{yard.run_id}/downloads/{file}"],
        "/experiments": ["/experiments"],
        "/models": ["/models", "/models?name=markup"],
        "/models/{name}": ["/models/markup", f"/models/{one_part}"],
        "/models/{name}/{version}": ["/models/markup/1"],
        "/models/{name}/{version}/files/{path:path}": ["/models/markup/1/files/shown/page.html"],
        "/models/{name}/{version}/pictures/{path:path}": ["/models/markup/1/pictures/shown/dot.png"],
        "/models/{name}/{version}/downloads/{path:path}": ["/models/markup/1/downloads/shown/page.html"],
        "/compute": ["/compute"],
        "/datastores": ["/datastores"],
        "/datastores/{name}": [of_store, f"{of_store}?folder={said}"],
        "/datastores/{name}/files/{path:path}": [f"{of_store}/files/shown/page.html", f"{of_store}/files/{said}"],
        "/datastores/{name}/pictures/{path:path}": [f"{of_store}/pictures/shown/dot.png"],
        "/datastores/{name}/downloads/{path:path}": [f"{of_store}/downloads/shown/page.html"],
        "/settings": ["/settings"],
        "/settings/retention/{name}": ["/settings/retention/markup", f"/settings/retention/{one_part}"],
        "/{name}": [f"/{one_part}"],
    }
    return [(route, address) for route, these in addresses.items() for address in these]


@pytest.mark.parametrize("name", ["page.html", "picture.svg", "MLmodel", "conda.yaml", "paper.pdf", "x\u202egnp.html"])
@attack(
    30,
    "AFINE: attacking MLflow through its artifacts",
    "a YAML, SVG, HTML or PDF artifact that runs code when somebody looks at it",
    "its bytes are only saved: `attachment`, `nosniff`, a sandboxing policy; a page shows it as text, which runs "
    "nothing, or not at all; logs are plain text",
)
def test_attack_30_a_file_of_a_run_is_saved_and_never_shown(yard: Yard, name: str) -> None:
    content = b"<svg onload=alert(1)>!!js/function 'alert(1)'"
    client = yard.client()
    _put(yard, f"outputs/{name}", content)
    answer = client.get(f"{API}/runs/{yard.run_id}/files/outputs/{name}")
    assert answer.content == content
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox")
    saved = client.get(f"/runs/{yard.run_id}/downloads/outputs/{quote(name)}", headers=visitor(yard))
    assert saved.content == content and saved.headers["content-disposition"].startswith("attachment")
    assert saved.headers["content-security-policy"].startswith("sandbox")
    looked_at = client.get(f"/runs/{yard.run_id}/files/outputs/{quote(name)}", headers=visitor(yard))
    assert looked_at.status_code == 200 and "<svg onload" not in looked_at.text
    drawn = client.get(f"/runs/{yard.run_id}/pictures/outputs/{quote(name)}", headers=visitor(yard))
    assert drawn.status_code == 404 and "<svg onload" not in drawn.text
    log = client.get(f"{API}/runs/{yard.run_id}/logs/azureml-logs/70_driver_log.txt")
    assert log.headers["content-type"].startswith("text/plain")
    assert log.headers["x-content-type-options"] == "nosniff"


def _put(yard: Yard, path: str, content: bytes) -> None:
    digest = sha256(content).hexdigest()
    client = yard.client()
    assert client.post(f"{API}/objects", content=pack_of({digest: content})).status_code == 200
    listed = {"files": [{"path": path, "size": len(content), "digest": digest}]}
    assert client.post(f"{API}/runs/{yard.run_id}/files", json=listed).status_code == 200


@pytest.mark.parametrize(
    "target",
    [
        "/static/js/../../../../etc/passwd",
        "/static/../../../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/static/..%2f..%2f..%2fetc%2fpasswd",
        "/static/..%5c..%5cwindows%5cwin.ini",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/__init__.py",
        "/static/..",
        "/api/v0/logs/file?node_id=N&filename=../../../../../etc%2fpasswd&lines=50000",
        "/get-artifact?path=../../../../../../etc/passwd&run_uuid=R",
        "/ajax-api/2.0/mlflow-artifacts/artifacts?path=C:/",
        "/api/v1/runs/../../../etc/passwd",
        "/..%00/etc/passwd",
        "/%ff%fe",
    ],
)
@attack(
    37,
    "Ray CVE-2023-6020, CVE-2023-6021",
    "`..` below the static files and in a log's name, verbatim, through the HTTP parser",
    "404 or 400: static files are a table of names made at the start; no route takes a file name of the machine",
)
def test_attack_37_no_file_of_the_machine_is_served(listening: Listening, target: str) -> None:
    """Over a real connection: no client library keeps such a target as it is."""
    answer = listening.ask(f"GET {target}")
    assert status_of(answer) in (400, 404)
    assert b"root:" not in answer and b"import" not in answer
