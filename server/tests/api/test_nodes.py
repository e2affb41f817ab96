"""Nodes that do not see the server's folder: a ticket is good for one coming, and what it is exchanged for for one attempt."""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runyard.errors import EnvironmentException
from runyard.home import read_json, write_json
from runyard.job import task
from runyard.job.ray_gang import TAKEN_BACK, take
from runyard.protocol.environments import CompiledPackage, EnvironmentLock
from runyard.protocol.jobs import JobAssignment
from runyard_server.app import Server, build
from runyard_server.environments.provision import Environments
from runyard_server.environments.wheels import Wheels
from runyard_server.executors import task_folder
from runyard_server.executors.base import JobRequest
from runyard_server.services.tokens import NODE_TICKET_S, Lease
from runyard_server.settings import Secrets, Settings
from runyard_server.testing.client import Client
from runyard_server.testing.clock import FakeClock
from runyard_server.testing.fresh_home import fresh_home

ADDRESS = "http://127.0.0.1:8000"
MEMBER = "the-workspaces-own-token"
RUN = "some-run"
HOROVOD = CompiledPackage("horovod", "0.28.1", "0" * 64, "a recipe")


def compiled(folder: Path) -> Path:
    """Its wheel, as a compiler would leave it."""
    made = folder / "horovod-0.28.1-cp311-cp311-linux_x86_64.whl"
    made.write_bytes(b"of the server")
    return made


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
    fresh_home(settings.home)
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


def test_a_node_that_is_its_own_driver_says_that_it_is_about_to_be_taken_away(node: Node) -> None:
    token = node.come(step="").json()["token"]
    said = {"begun": True, "leaving": "its node abc is about to be taken away"}
    path = f"/api/v1/runs/{RUN}/attempts/1/driver/state"
    answer = node.client.post(path, json=said, headers={"Authorization": f"Bearer {token}"})
    assert answer.json() == {"goes_on": True}
    assert read_json(str(node.directory.with_name("slurm.state"))) == said


def test_what_a_driver_says_is_kept_nowhere_where_there_is_none(node: Node) -> None:
    told = read_json(str(node.directory / task.TASK_FILE)) or {}
    del told["job_file"]  # as where the nodes see the folder
    write_json(str(node.directory / task.TASK_FILE), told)
    token = node.tokens.for_run(RUN, Lease(RUN, 1))
    path = f"/api/v1/runs/{RUN}/attempts/1/driver/state"
    answer = node.client.post(path, json={"begun": True}, headers={"Authorization": f"Bearer {token}"})
    assert answer.json() == {"goes_on": False}
    assert [path.name for path in node.directory.parent.iterdir()] == ["node-0"]


class Driver:
    """The driver of a gang of that attempt."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.base = node.directory.with_name("slurm")
        self.ticket = node.tokens.for_node(RUN, 1, None)
        task_folder.lay_out_driver(self.base, {"gang": {"bundle": {"CPU": 1}, "nodes": ["a", "b"]}})

    def call(self, what: str, token: str, body: Any, attempt: int = 1) -> Any:
        path = f"/api/v1/runs/{RUN}/attempts/{attempt}/driver/{what}"
        return self._node.client.post(path, json=body, headers={"Authorization": f"Bearer {token}"})

    def come(self, claim: str = "one", token: str = "", attempt: int = 1) -> Any:
        return self.call("begin", token or self.ticket, {"claim": claim, "host": "head", "pid": 1}, attempt)

    def state(self) -> Any:
        return read_json(str(self.base.with_name("slurm.state")))


@pytest.fixture
def driver(node: Node) -> Driver:
    return Driver(node)


def test_a_driver_gets_its_gang_once_and_neither_ticket_is_good_for_the_other(node: Node, driver: Driver) -> None:
    given = driver.come()
    assert given.json()["task"] == {"gang": {"bundle": {"CPU": 1}, "nodes": ["a", "b"]}}
    assert driver.come().json()["task"] == given.json()["task"]
    assert driver.come(claim="another").json()["error"]["code"] == "ticket_used"
    assert node.tokens.check(given.json()["token"]).lease == Lease(RUN, 1)
    assert node.come(token=driver.ticket).status_code == 403
    assert driver.come(token=node.ticket).status_code == 403
    assert driver.come(attempt=2).status_code == 403
    assert driver.call("state", driver.ticket, {}).status_code == 403
    assert driver.call("state", node.tokens.for_run(RUN, Lease(RUN, 2)), {}).status_code == 403


def test_what_a_driver_says_stands_where_one_that_sees_the_folder_would_write_it(node: Node, driver: Driver) -> None:
    token = driver.come().json()["token"]
    assert driver.call("state", token, {"waiting": "waits", "asked": 2, "here": 1}).json() == {"goes_on": True}
    assert driver.state() == {"waiting": "waits", "asked": 2, "here": 1}
    said = {"begun": True, "lost": {"1": {"cause": "node_lost", "message": "m"}}, "ended": {"0": 74}}
    for _ in range(2):  # the answer was lost
        assert driver.call("state", token, said).json() == {"goes_on": True}
    assert driver.state() == said
    assert node.come(step="").status_code == 200  # the gang's nodes come after that


def test_of_a_driver_and_a_server_that_takes_the_run_back_the_first_has_it(node: Node, driver: Driver) -> None:
    token = driver.come().json()["token"]
    assert take(str(driver.base.with_name("slurm.job")), TAKEN_BACK)
    assert driver.call("state", token, {"waiting": "waits"}).json() == {"goes_on": False}
    assert driver.call("state", token, {"begun": True}).json() == {"goes_on": False}
    assert driver.state() is None
    assert driver.come().json()["error"]["code"] == "ticket_used"
    assert node.come(step="").json()["error"]["code"] == "ticket_used"


def test_a_driver_whose_gang_was_cleared_away_ends(driver: Driver) -> None:
    token = driver.come().json()["token"]
    (driver.base.with_name("driver") / task.TASK_FILE).unlink()
    assert driver.call("state", token, {"begun": True}).json() == {"goes_on": False}


def test_the_archive_is_the_sdk_under_its_digest(node: Node, server: Server) -> None:
    token = {"Authorization": f"Bearer {node.come().json()['token']}"}
    digest = server.services.nodes.archive.digest
    packed = node.client.get(f"/api/v1/job-archive/{digest}", headers=token).content
    assert hashlib.sha256(packed).hexdigest() == digest
    names = zipfile.ZipFile(io.BytesIO(packed)).namelist()
    assert {"runyard/job/away.py", "runyard/__init__.py"} <= set(names)
    other = node.client.get(f"/api/v1/job-archive/{'0' * 64}", headers=token)
    assert other.status_code == 400 and "was updated" in other.json()["error"]["message"]


def test_a_wheel_that_the_server_has_compiled_is_had_by_its_digest(node: Node, server: Server, tmp_path: Path) -> None:
    kept = Wheels(tmp_path / "environments" / "wheels").ensure(HOROVOD, compiled, lambda line: None, None)
    token = {"Authorization": f"Bearer {node.come().json()['token']}"}
    assert node.client.get(f"/api/v1/job-wheels/{kept.sha256}", headers=token).content == b"of the server"
    kept.path.unlink()
    (kept.path.parent / "wheel.json").unlink()
    gone = node.client.get(f"/api/v1/job-wheels/{kept.sha256}", headers=token)
    assert gone.status_code == 400 and "Submit the run again" in gone.json()["error"]["message"]


def test_the_nodes_of_a_run_are_told_of_the_wheels_of_its_lock_and_of_none_that_is_gone(tmp_path: Path) -> None:
    lock = EnvironmentLock("k" * 40, "3.11.7", "mpich==5.0.2", compiled=[HOROVOD])
    environments = Environments(tmp_path)
    with pytest.raises(EnvironmentException, match="horovod that was compiled here is gone"):
        environments.wheels_of(lock)
    kept = Wheels(tmp_path / "wheels").ensure(HOROVOD, compiled, lambda line: None, None)
    assert environments.wheels_of(lock) == {kept.path.name: kept.sha256}
