"""What is sent for an attempt that has ended is refused, whatever it is; what was accepted before stays."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runyard.protocol.codec import to_json
from runyard.protocol.environments import EnvironmentSpec
from runyard.protocol.runs import RetrySpec, RunSpec
from runyard.protocol.status import Reason, RunStatus
from runyard_server.api.roles import TABLE, Role
from runyard_server.app import Server, build
from runyard_server.lifecycle.ports import Move
from runyard_server.services.tokens import Lease
from runyard_server.settings import Secrets, Settings
from runyard_server.testing.client import Client
from runyard_server.testing.clock import FakeClock
from runyard_server.testing.fresh_home import fresh_home

ADDRESS = "http://127.0.0.1:8000"
MEMBER = "the-workspaces-own-token"
OF_JOBS = sorted(row for row, roles in TABLE.items() if Role.RUN in roles and Role.PUBLIC not in roles)

NewServer = Callable[[], Server]


@pytest.fixture
def new_server(tmp_path: Path) -> Iterator[NewServer]:
    """Starts a server of one home; it takes the place of the one before."""
    settings = Settings(home=tmp_path / "home", environments=tmp_path / "environments")
    fresh_home(settings.home)
    built: list[Server] = []

    def start() -> Server:
        for before in built:
            before.close()
        built[:] = [build(settings, Secrets(MEMBER, b"k" * 32), lambda: ADDRESS, FakeClock())]
        return built[0]

    yield start
    for server in built:
        server.close()


@pytest.fixture
def server(new_server: NewServer) -> Server:
    return new_server()


def client(server: Server, token: str = MEMBER) -> Client:
    return Client(server.app, ADDRESS, {"Authorization": f"Bearer {token}"})


def begun(server: Server) -> str:
    """The id of a run whose first attempt runs."""
    snapshot = client(server).post("/api/v1/snapshots", json={"files": []}).json()["id"]
    environment = EnvironmentSpec(user_managed=True, interpreter="python3")
    spec = RunSpec("e", snapshot, command=["true"], environment=environment, retry=RetrySpec(2))
    run_id = str(client(server).post("/api/v1/runs", json=to_json(spec)).json()["id"])
    for status in (RunStatus.PREPARING, RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.FINALIZING):
        move(server, run_id, status)
    return run_id


def move(server: Server, run_id: str, to: RunStatus, **changes: object) -> None:
    run = server.services.runs.get(run_id)
    server.lifecycle._apply(Move(run, to, Reason.RETRIED, changes=dict(changes)))


def job(server: Server, run_id: str, attempt: int) -> Client:
    return client(server, server.services.tokens.for_run(run_id, Lease(run_id, attempt)))


def _code(refusal: dict[str, Any]) -> str:
    """The code of an error, in our words or in MLflow's on its routes."""
    return str(refusal["error"]["code"] if "error" in refusal else refusal["error_code"])


def filled(path: str, run_id: str) -> str:
    parts = []
    for part in path.split("/"):
        value = run_id if part == "{run_id}" else "1" if part == "{version}" else "x"
        parts.append(value if part.startswith("{") else part)
    return "/".join(parts)


@pytest.mark.parametrize("is_new", [False, True])
def test_a_jobs_token_is_good_as_long_as_its_attempt_goes_on(new_server: NewServer, is_new: bool) -> None:
    server = new_server()
    run_id = begun(server)
    tokens = server.services.tokens
    late, alone = tokens.for_run(run_id, Lease(run_id, 1), lasts_s=-60), tokens.for_run(run_id, lasts_s=-60)
    strange = tokens.for_run("no-run", Lease("no-run", 1), lasts_s=-60)
    if is_new:
        server = new_server()
    assert client(server, late).get(f"/api/v1/runs/{run_id}").status_code == 200
    for token in (alone, strange):
        assert client(server, token).get(f"/api/v1/runs/{run_id}").status_code == 401
    move(server, run_id, RunStatus.COMPLETED)
    refused = client(server, late).get(f"/api/v1/runs/{run_id}")
    assert _code(refused.json()) == "attempt_over"


@pytest.mark.parametrize("end", ["another attempt", "the run's end", "another attempt, seen by a new server"])
def test_every_route_that_a_job_may_use_refuses_an_attempt_that_has_ended(new_server: NewServer, end: str) -> None:
    server = new_server()
    run_id = begun(server)
    assert job(server, run_id, 1).get(f"/api/v1/runs/{run_id}").status_code == 200
    if end == "the run's end":
        move(server, run_id, RunStatus.COMPLETED)
    else:
        move(server, run_id, RunStatus.QUEUED, attempt=2)
    if end.endswith("new server"):
        server = new_server()
    first = job(server, run_id, 1)
    answers = {row: first.request(row[0], filled(row[1], run_id)) for row in OF_JOBS}
    assert len(answers) > 60
    heard = {row: answer.text for row, answer in answers.items() if answer.status_code != 409}
    assert heard == {}
    assert {_code(answer.json()) for answer in answers.values()} == {"attempt_over", "RESOURCE_CONFLICT"}


def test_the_next_attempt_is_heard_and_what_the_one_before_had_sent_stays(server: Server) -> None:
    run_id = begun(server)
    log = f"/api/v1/runs/{run_id}/logs/azureml-logs/70_driver_log.txt?offset="
    assert job(server, run_id, 1).request("PUT", log + "0", content=b"one\n").json()["size"] == 4
    move(server, run_id, RunStatus.QUEUED, attempt=2)
    refused = job(server, run_id, 1).request("PUT", log + "4", content=b"two\n")
    assert refused.status_code == 409
    assert refused.json()["error"]["message"].startswith(f"Attempt 1 of run {run_id} has ended")
    again = f"/api/v1/runs/{run_id}/logs/azureml-logs/attempt-2/70_driver_log.txt?offset=0"
    assert job(server, run_id, 2).request("PUT", again, content=b"three\n").json()["size"] == 6
    assert server.services.logs.read(run_id, "azureml-logs/70_driver_log.txt") == b"one\n"


def test_a_child_run_that_an_attempt_began_is_written_to_by_nobody_after_it(server: Server) -> None:
    run_id = begun(server)
    made = job(server, run_id, 1).post("/api/v1/interactive-runs", json={"experiment": "e", "parent": run_id}).json()
    child = client(server, made["token"])
    metrics = f"/api/v1/runs/{made['run']['id']}/metrics?writer=w&offset=0"
    assert child.request("POST", metrics, content=b"").status_code == 200
    move(server, run_id, RunStatus.QUEUED, attempt=2)
    assert child.request("POST", metrics, content=b"").json()["error"]["code"] == "attempt_over"


def test_a_run_that_somebody_follows_from_outside_has_no_lease(server: Server) -> None:
    begun_by_hand = client(server).post("/api/v1/interactive-runs", json={"experiment": "e"}).json()
    own, run_id = client(server, begun_by_hand["token"]), begun_by_hand["run"]["id"]
    assert own.post(f"/api/v1/runs/{run_id}/complete").status_code == 200
    assert own.get(f"/api/v1/runs/{run_id}/metrics").status_code == 200


def test_a_token_of_before_there_were_leases_is_good(server: Server) -> None:
    run_id = begun(server)
    old = client(server, server.services.tokens.for_run(run_id))
    assert old.get(f"/api/v1/runs/{run_id}").status_code == 200
