"""A page of another site, in the browser of whoever runs a server: it can neither send, nor read, nor plant anything."""

import json
from hashlib import sha256
from urllib.parse import quote

import pytest

from runyard.protocol.models import ModelSpec
from runyard.protocol.runs import InteractiveRunSpec, RunChanges, RunError
from runyard_server.services.pages import cookie_name

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
    held.models.register(
        ModelSpec(name="markup", run_id=yard.run_id, model_path="outputs/model", description=MARKUP, tags={"t": MARKUP})
    )
    held.runs.fail(run.id, RunError("ScriptError", MARKUP, traceback=MARKUP), by=MARKUP)
    pages = [
        "/runs",
        f"/runs/{run.id}",
        f"/runs/{run.id}/live",
        "/experiments",
        "/models",
        "/compute",
        "/" + quote(MARKUP.replace("/", "")),
    ]
    pages += [f"/runs?experiment={MARKUP}", f"/runs/{run.id}?log={MARKUP}", "/models?name=markup"]
    for page in pages:
        answer = yard.client().get(page, headers=visitor(yard))
        assert "<script>alert" not in answer.text and "<img src=x" not in answer.text, page
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self'" in policy and "default-src 'none'" in policy and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert MARKUP not in yard.client().get(f"/runs/{run.id}", headers=visitor(yard)).text


@pytest.mark.parametrize("name", ["page.html", "picture.svg", "MLmodel", "conda.yaml", "paper.pdf", "x\u202egnp.html"])
@attack(
    30,
    "AFINE: attacking MLflow through its artifacts",
    "a YAML, SVG, HTML or PDF artifact that runs code when somebody looks at it",
    "files are never shown, only saved: `attachment`, `nosniff`, a sandboxing policy; logs are plain text",
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
