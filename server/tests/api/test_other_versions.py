"""Requests of clients and jobs of other versions over the whole application: what is not known here is passed over."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runyard.protocol.codec import to_json
from runyard.protocol.environments import EnvironmentSpec
from runyard.protocol.jobs import JobReport
from runyard.protocol.runs import RunSpec
from runyard.protocol.version import VERSION
from runyard_server.app import Server, build
from runyard_server.settings import Secrets, Settings
from runyard_server.testing.client import Client
from runyard_server.testing.fresh_home import fresh_home

ADDRESS = "http://127.0.0.1:8787"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    settings = Settings(home=tmp_path / "home", environments=tmp_path / "environments")
    fresh_home(settings.home)
    server = build(settings, Secrets("member", b"k" * 32), lambda: ADDRESS)
    yield server
    server.close()


def client(server: Server, token: str = "member") -> Client:
    return Client(server.app, ADDRESS, {"Authorization": f"Bearer {token}"})


@pytest.fixture
def spec(server: Server) -> dict[str, object]:
    snapshot = client(server).post("/api/v1/snapshots", json={"files": []}).json()["id"]
    environment = EnvironmentSpec(user_managed=True, interpreter="python3")
    said: dict[str, object] = to_json(RunSpec("e", snapshot, command=["true"], environment=environment))
    return said


def test_a_newer_client_submits_what_this_server_knows_of_its_spec(server: Server, spec: dict[str, object]) -> None:
    answer = client(server).post("/api/v1/runs", json={**spec, "colour": "grey"})
    assert answer.status_code == 200, answer.text
    assert "colour" not in answer.json()["spec"]


def test_an_older_client_leaves_out_what_came_later(server: Server, spec: dict[str, object]) -> None:
    needed = {name: spec[name] for name in ("experiment", "snapshot", "command", "environment")}
    answer = client(server).post("/api/v1/runs", json=needed)
    assert answer.status_code == 200, answer.text
    assert answer.json()["spec"]["node_count"] == 1


def test_a_newer_jobs_report_is_heard(server: Server, spec: dict[str, object]) -> None:
    run_id = client(server).post("/api/v1/runs", json=spec).json()["id"]
    job = client(server, server.services.tokens.for_run(run_id))
    said = {**to_json(JobReport(1, 0, 1, "running")), "colour": "grey"}
    plain = job.post(f"/api/v1/runs/{run_id}/report", json=to_json(JobReport(1, 0, 1, "running")))
    answer = job.post(f"/api/v1/runs/{run_id}/report", json=said)
    assert (answer.status_code, answer.json()) == (plain.status_code, plain.json()) and answer.status_code == 200


def test_a_route_that_came_later_is_told_as_such_with_this_servers_version(server: Server) -> None:
    answer = client(server).get("/api/v1/colours")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"].startswith(f"This server (runyard {VERSION}) has no GET /api/v1/colours.")
