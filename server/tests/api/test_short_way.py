"""What is sent all the time is answered as by the framework, which has whatever else is asked of these routes."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from runyard.protocol.runs import InteractiveRunSpec
from runyard_server.api.roles import TABLE
from runyard_server.api.short_way import WAYS, ShortWay
from runyard_server.app import Server, build
from runyard_server.services.tokens import Identity
from runyard_server.settings import Secrets, Settings
from runyard_server.testing.client import Client
from runyard_server.testing.clock import FakeClock

LOG = "logs/azureml-logs/70_driver_log.txt"
POINT = b'["s", "loss", 0.5, 1.5]\n'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    settings = Settings(home=tmp_path / "home", environments=tmp_path / "environments")
    settings.home.mkdir(mode=0o700)
    built = build(settings, Secrets("own", b"k" * 32), lambda: "http://127.0.0.1:8000", FakeClock())
    yield built
    built.close()


@pytest.fixture
def client(server: Server) -> Client:
    return Client(server.app, "http://127.0.0.1:8000", {"Authorization": "Bearer own"})


@pytest.fixture
def address(server: Server) -> str:
    return f"/api/v1/runs/{server.services.runs.start_interactive(InteractiveRunSpec('e'), 'user').id}/"


def test_every_short_way_is_a_route_that_there_is() -> None:
    assert set(WAYS) <= set(TABLE)


@pytest.mark.parametrize(
    ("way", "query", "body", "status"),
    [
        (("PUT", "/api/v1/runs/{run_id}/logs/{name:path}"), b"offset=0", b"one\n", 200),
        (("POST", "/api/v1/runs/{run_id}/metrics"), b"writer=rank-0&offset=0", POINT, 200),
        (("POST", "/api/v1/runs/{run_id}/report"), b"", b'{"attempt":1,"node":0,"sequence":1,"phase":"running"}', 200),
        (("POST", "/api/v1/runs"), b"", b'{"experiment":"e","script":"x.py","snapshot":"%s"}' % (b"0" * 64), 400),
    ],
)
def test_what_comes_as_our_clients_send_it_does_not_reach_the_framework(
    server: Server, way: tuple[str, str], query: bytes, body: bytes, status: int
) -> None:
    async def framework(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("it was reached")

    async def received() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def sent(message: Message) -> None:
        said.append(message)

    said: list[Message] = []
    run_id = server.services.runs.start_interactive(InteractiveRunSpec("e"), "user").id
    params = {"run_id": run_id, "name": "azureml-logs/70_driver_log.txt"}
    scope = {
        "type": "http",
        "method": way[0],
        "path": way[1],
        "query_string": query,
        "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())],
        "app": server.app,
        "state": {
            "route": way[1],
            "params": {name: value for name, value in params.items() if "{" + name in way[1]},
            "identity": Identity("member"),
            "caller": "user",
        },
    }
    asyncio.run(ShortWay(framework)(scope, received, sent))
    assert said[0]["status"] == status


def test_pieces_are_taken_and_a_gap_is_told(client: Client, address: str) -> None:
    assert client.request("PUT", address + LOG + "?offset=0", content=b"one\n").json()["size"] == 4
    gap = client.request("PUT", address + LOG + "?offset=9", content=b"two\n")
    assert (gap.status_code, gap.json()["error"]["details"]) == (409, {"size": 4})
    taken = client.request("POST", address + "metrics?writer=rank%20%C3%A9&offset=0", content=POINT)
    assert taken.json()["size"] == len(POINT)
    assert client.get(address + "metrics").json()["metrics"] == {"loss": 0.5}


@pytest.mark.parametrize(
    "query", ["", "?offset=-1", "?offset=x", "?offset=9223372036854775808", "?offset=%D9%A1%D9%A2x"]
)
def test_what_does_not_fit_is_told_in_the_frameworks_words(client: Client, address: str, query: str) -> None:
    refused = client.request("PUT", address + LOG + query, content=b"one\n")
    assert refused.status_code == 422
    assert "query.offset" in refused.json()["error"]["message"]


def test_an_unknown_run_and_a_body_that_is_too_large_are_told(client: Client, address: str) -> None:
    assert client.request("PUT", "/api/v1/runs/no-such/" + LOG + "?offset=0", content=b"one\n").status_code == 404
    assert client.request("PUT", address + LOG + "?offset=0", content=bytes((16 << 20) + 1)).status_code == 413


def test_a_submission_is_answered_as_by_the_framework(client: Client, server: Server) -> None:
    spec = {"experiment": "e", "script": "train.py", "snapshot": "0" * 64, "environment": {"name": "x"}}
    plain = json.dumps(spec).encode()
    said = [
        client.request("POST", "/api/v1/runs", content=plain, headers={"Content-Type": kind})
        for kind in ("application/json", "application/json; charset=utf-8")
    ]
    assert said[0].status_code == said[1].status_code
    assert said[0].json() == said[1].json()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{}", 422),
        (b"{", 422),
        (b"[" * 100_000, 400),
        (b'{"experiment": "e\\u0000"}', 400),
        (b'{"experiment": 7, "script": []}', 422),
    ],
)
def test_a_body_that_does_not_fit_is_told_in_the_frameworks_words(client: Client, body: bytes, status: int) -> None:
    said = [
        client.request("POST", "/api/v1/runs", content=body, headers={"Content-Type": kind})
        for kind in ("application/json", "application/json; charset=utf-8")
    ]
    assert said[0].status_code == said[1].status_code == status
    assert said[0].json() == said[1].json()


def test_a_report_is_answered_and_one_of_another_attempt_is_told_that_it_is_stale(client: Client, address: str) -> None:
    report = {"attempt": 1, "node": 0, "sequence": 1, "phase": "running"}
    taken = client.request("POST", address + "report", json=report)
    assert taken.status_code == 200 and taken.json()["instance"]
    over = client.request("POST", address + "report", json={**report, "attempt": 7})
    assert over.json()["stale"] and not taken.json()["stale"]
