"""Nodes that do not see the server's folder: a ticket is good for one coming, and what it is exchanged for for one attempt."""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runyard.home import read_json
from runyard.job import task
from runyard.protocol.jobs import JobAssignment
from runyard_server.app import Server, build
from runyard_server.executors import task_folder
from runyard_server.executors.base import JobRequest
from runyard_server.services.tokens import NODE_TICKET_S, Lease
from runyard_server.settings import Secrets, Settings
from runyard_server.testing.client import Client
from runyard_server.testing.clock import FakeClock

ADDRESS = "http://127.0.0.1:8000"
MEMBER = "the-workspaces-own-token"
RUN = "some-run"


class Node:
    """Node 0 of the first attempt of a run, as it speaks to the server."""

    def __init__(self, server: Server, directory: Path) -> None:
        self.client = Client(server.app, ADDRESS)
        self.tokens = server.services.tokens
        self.directory = directory
        self.ticket = self.tokens.for_node(RUN, 1, 0)

    def call(self, method: str, what: str, token: str, body: Any = None, node: int = 0, attempt: int = 1) -> Any:
        path = f"/api/v1/runs/{RUN}/attempts/{attempt}/nodes/{node}/{what}"
        return self.client.request(method, path, json=body, headers={"Authorization": f"Bearer {token}"})

    def come(self, claim: str = "one", step: str = "7.0", token: str | None = None, **where: int) -> Any:
        arrival = {"claim": claim, "host": "n1", "pid": 1, "step": step}
        return self.call("POST", "begin", self.ticket if token is None else token, arrival, **where)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server(tmp_path: Path, clock: FakeClock) -> Iterator[Server]:
    settings = Settings(home=tmp_path / "home", environments=tmp_path / "environments")
    settings.home.mkdir(mode=0o700)
    built = build(settings, Secrets(MEMBER, b"k" * 32), lambda: ADDRESS, clock)
    yield built
    built.close()


@pytest.fixture
def node(server: Server, tmp_path: Path) -> Node:
    """One for which a job was laid out, as an engine's executor does it before it submits."""
    directory = tmp_path / "home" / "runs" / RUN / "attempt-1" / "node-0"
    given = JobAssignment(
        run_id=RUN, attempt=1, experiment="e", node=0, node_count=1, directory=str(directory), server_url=ADDRESS,
        token="", snapshot="s", python="python", sdk_path="sdk", max_run_duration_s=60,
    )  # fmt: skip
    plans = task_folder.node_plans(JobRequest(RUN, 1, [given]), task.THIS_PYTHON)
    task_folder.lay_out(plans, job_file=directory.with_name("slurm.job"))
    return Node(server, directory)


def test_a_ticket_is_exchanged_for_the_job_and_a_token_of_its_attempt(node: Node) -> None:
    answer = node.come()
    assert answer.status_code == 200
    given = answer.json()
    assert given["task"]["assignment"]["run_id"] == RUN and given["wanted"] == ""
    identity = node.tokens.check(given["token"])
    assert (identity.role, identity.run_id, identity.lease) == ("run", RUN, Lease(RUN, 1))
    said = read_json(str(node.directory / task.WHERE_FILE)) or {}
    assert (said["host"], said["step"]) == ("n1", "7.0")
    assert node.directory.with_name("slurm.job").read_text() == "7"


def test_who_lost_the_answer_gets_it_again_and_another_one_gets_nothing(node: Node) -> None:
    first = node.come()
    assert node.come().json()["task"] == first.json()["task"]
    late = node.come(claim="another")
    assert (late.status_code, late.json()["error"]["code"]) == (409, "ticket_used")
    assert (read_json(str(node.directory / task.WHERE_FILE)) or {})["claim"] == "one"


def test_of_two_jobs_of_the_engine_for_one_attempt_the_first_has_it(node: Node) -> None:
    node.directory.with_name("slurm.job").write_text("6")
    assert node.come(step="7.0").json()["error"]["code"] == "ticket_used"
    assert node.come(step="6.0").status_code == 200


def test_a_job_that_was_cleared_away_is_not_given(node: Node) -> None:
    (node.directory / task.TASK_FILE).unlink()
    assert node.come().json()["error"]["code"] == "ticket_used"


def test_a_ticket_is_good_for_its_own_node_and_for_coming_alone(node: Node) -> None:
    assert node.come(node=1).status_code == 403
    assert node.come(attempt=2).status_code == 403
    for method, what in (("GET", "wanted"), ("POST", "end")):
        assert node.call(method, what, node.ticket, {}).status_code == 403
    for path in ("/api/v1/runs", f"/api/v1/runs/{RUN}/report", "/api/v1/job-tools/uv"):
        answer = node.client.get(path, headers={"Authorization": f"Bearer {node.ticket}"})
        assert answer.status_code in (403, 405), path
    for other in (MEMBER, node.tokens.ticket(), node.tokens.for_run(RUN, Lease(RUN, 1))):
        assert node.come(token=other).status_code == 403


def test_a_ticket_expires_and_says_so(node: Node, clock: FakeClock) -> None:
    clock.advance(seconds=NODE_TICKET_S + 60)
    answer = node.come()
    assert answer.status_code == 401 and "ticket has expired" in answer.json()["error"]["message"]


def test_the_token_lasts_as_long_as_the_run_may_take_and_a_day(node: Node, clock: FakeClock) -> None:
    token = node.come().json()["token"]
    clock.advance(seconds=24 * 3600)
    assert node.call("GET", "wanted", token).status_code == 200
    clock.advance(seconds=120)
    answer = node.call("GET", "wanted", token)
    assert answer.status_code == 401 and "token has expired" in answer.json()["error"]["message"]


def test_a_node_hears_how_its_job_is_to_end(node: Node) -> None:
    token = node.come().json()["token"]
    assert node.call("GET", "wanted", token).json() == {"wanted": ""}
    (node.directory / task.END_FILE).write_text("0")
    assert node.call("GET", "wanted", token).json() == {"wanted": "end"}
    (node.directory / task.KILL_FILE).write_text("0")
    assert node.call("GET", "wanted", token).json() == {"wanted": "kill"}
    assert node.come().json()["wanted"] == "kill"


def test_how_a_job_ended_is_noted_as_its_task_would_itself(node: Node) -> None:
    token = node.come().json()["token"]
    said = {"exit_code": None, "signal": "SIGKILL", "message": "", "began": True, "tail": "last words"}
    assert node.call("POST", "end", token, said).status_code == 200
    end = read_json(str(node.directory / task.EXIT_FILE)) or {}
    assert (end["signal"], end["salvage"]) == ("SIGKILL", 0)
    assert (node.directory / task.LOG_FILE).read_text() == "last words"


def test_a_token_of_another_attempt_says_nothing_for_this_one(node: Node) -> None:
    other = node.tokens.for_run(RUN, Lease(RUN, 2))
    assert node.call("GET", "wanted", other).status_code == 403
    assert node.call("POST", "end", node.tokens.for_run(RUN), {}).status_code == 403


def test_the_archive_is_the_sdk_under_its_digest(node: Node, server: Server) -> None:
    token = {"Authorization": f"Bearer {node.come().json()['token']}"}
    digest = server.services.nodes.archive.digest
    packed = node.client.get(f"/api/v1/job-archive/{digest}", headers=token).content
    assert hashlib.sha256(packed).hexdigest() == digest
    names = zipfile.ZipFile(io.BytesIO(packed)).namelist()
    assert {"runyard/job/away.py", "runyard/__init__.py"} <= set(names)
    other = node.client.get(f"/api/v1/job-archive/{'0' * 64}", headers=token)
    assert other.status_code == 400 and "was updated" in other.json()["error"]["message"]
