"""The routes of a run's ranks and their stacks: what a person asks, and what the jobs then hear."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI

from runyard.protocol.codec import to_json
from runyard.protocol.jobs import JobReport, RankReport
from runyard.protocol.runs import ClientProcess, DistributionSpec, InteractiveRunSpec
from runyard.protocol.status import RunStatus
from runyard_server.api import errors, runs
from runyard_server.records.engine import Database
from runyard_server.services.ranks import ASKED_S, RankService
from runyard_server.testing.client import Client
from runyard_server.testing.clock import FakeClock
from runyard_server.testing.fake_executor import FakeEngine
from runyard_server.testing.run_server import RunServer

TWO_EACH = DistributionSpec(kind="torch", process_count_per_node=2)


@pytest.fixture
def server(tmp_path: Path, database: Database) -> Iterator[RunServer]:
    server = RunServer(tmp_path, FakeEngine(), FakeClock(), database)
    yield server
    server.close()


@pytest.fixture
def client(server: RunServer) -> Client:
    app = FastAPI()
    app.router.routes.extend(runs.router.below("/api/v1"))
    ranks = RankService(server.database, server.clock, server.logs)
    app.state.services = SimpleNamespace(runs=server.runs, ranks=ranks, instance="i")
    errors.install(app)
    return Client(app, "http://server")


@pytest.fixture
def running(server: RunServer) -> str:
    """The id of a run of two nodes with two ranks each that has been started."""
    run_id = server.runs.submit(server.spec(node_count=2, distribution=TWO_EACH), "ann").id
    server.lifecycle.settle()
    assert server.runs.get(run_id).status is RunStatus.RUNNING
    return run_id


def report(client: Client, run_id: str, node: int, *ranks: RankReport, sequence: int = 1) -> Any:
    said = JobReport(attempt=1, node=node, sequence=sequence, phase="running", ranks=list(ranks))
    return client.post(f"/api/v1/runs/{run_id}/report", json=to_json(said)).json()


def test_every_rank_is_told_with_its_node_its_state_and_its_last_output(
    client: Client, server: RunServer, running: str
) -> None:
    ended = RankReport(1, 12, started_at=5.0, ended_at=9.0, exit_code=0)
    report(client, running, 0, RankReport(0, 11, started_at=5.0), ended)
    server.logs.append(running, "azureml-logs/70_driver_log_0.txt", 0, b"epoch 1\n")
    told = client.get(f"/api/v1/runs/{running}/ranks").json()
    assert [(rank["name"], rank["node"], rank["state"]) for rank in told] == [
        ("0", 0, "running"),
        ("1", 0, "ended"),
        ("2", 1, "waiting"),
        ("3", 1, "waiting"),
    ]
    assert (told[1]["exit_code"], told[1]["ended_at"]) == (0, 9.0)
    grown_at = (server.home / "logs" / running / "azureml-logs" / "70_driver_log_0.txt").stat().st_mtime
    assert [rank["last_output_at"] for rank in told] == [grown_at, None, None, None]


def test_an_interactive_run_has_no_ranks_and_no_stacks(client: Client, server: RunServer) -> None:
    process = ClientProcess(1, 1, "another machine")
    run = server.runs.start_interactive(InteractiveRunSpec("tests", process=process), "ann")
    assert client.get(f"/api/v1/runs/{run.id}/ranks").json() == []
    refused = client.post(f"/api/v1/runs/{run.id}/stacks")
    assert refused.status_code == 400 and "is interactive" in refused.json()["error"]["message"]


def test_stacks_that_somebody_asks_for_are_asked_of_every_job_for_a_while(
    client: Client, server: RunServer, running: str
) -> None:
    assert report(client, running, 0)["stacks"] is None
    asked = client.post(f"/api/v1/runs/{running}/stacks").json()
    assert asked == {"name": "2019-08-17T00-00-00Z", "ranks": ["0", "1", "2", "3"]}
    assert [report(client, running, node)["stacks"] for node in (0, 1)] == [asked["name"]] * 2
    assert isinstance(server.clock, FakeClock)
    server.clock.advance(ASKED_S)
    assert report(client, running, 0)["stacks"] is None
    assert client.post(f"/api/v1/runs/{running}/stacks").json()["name"] > asked["name"]


def test_a_run_that_does_not_run_has_no_stacks_and_says_so(client: Client, server: RunServer) -> None:
    run = server.runs.submit(server.spec(), "ann")
    refused = client.post(f"/api/v1/runs/{run.id}/stacks")
    assert refused.status_code == 400 and "only a run that is Running" in refused.json()["error"]["message"]
    assert client.post("/api/v1/runs/nobody/stacks").status_code == 404


def test_ranks_are_over_once_every_job_has_said_so_or_is_followed_by_a_salvage(
    client: Client, server: RunServer, running: str
) -> None:
    def collects(node: int) -> Any:
        said = JobReport(attempt=1, node=node, sequence=9, phase="collecting")
        return client.post(f"/api/v1/runs/{running}/report", json=to_json(said)).json()

    assert report(client, running, 1)["ranks_over"] is False
    assert collects(0)["ranks_over"] is False
    assert collects(1)["ranks_over"] is True
    assert collects(0)["ranks_over"] is True
