"""What Ray answers, as values and words: by an HTTP server that answers as a cluster's head would."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from runyard.errors import ComputeTargetException
from runyard.home import read_json, write_json
from runyard.job import bootstrap
from runyard.job.ray_gang import GangInFolder, take
from runyard.job.task import END_FILE, EXIT_FILE, KILL_FILE, WHERE_FILE
from runyard.protocol.codec import to_json
from runyard.protocol.compute import ComputeSpec, RaySpec
from runyard.protocol.jobs import DriverState, NodeArrival, NodeInvitation
from runyard.protocol.status import Reason
from runyard_server.executors import task_folder
from runyard_server.executors.base import EngineAwayError, JobRequest, JobState, NodeCounts, StartFailedError
from runyard_server.executors.ray import RayExecutor
from runyard_server.executors.ray.api import clean_address
from runyard_server.executors.ray.executor import bundle
from runyard_server.executors.ray.states import JOB_ERRORS, JOB_STATES
from runyard_server.testing import own_network
from runyard_server.testing.executor_contract import job_request

TOKEN = "the-clusters-own"


class Head:
    """Ray's head as it answers: jobs by submission id, nodes, and a token."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.nodes: list[dict[str, Any]] = []
        self.usage: dict[str, dict[str, list[float]]] = {}
        self.waiting: dict[str, list[dict[str, Any]]] = {}  # by kind
        self.report: dict[str, Any] = {"legacy": True, "nodeTypeMapping": {"a": "node_a"}}  # it only looks on
        self.asked: list[str] = []
        self.loses_answers = False
        self.answers_states = threading.Event()
        self.answers_states.set()
        head = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                head.asked.append(f"{self.command} {self.path.partition('?')[0]}")
                status, text = (403, "no") if self.headers["Authorization"] != f"Bearer {TOKEN}" else self.look_up(body)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_DELETE = answer

            def look_up(self, body: Any) -> tuple[int, str]:
                words = self.path.partition("?")[0].strip("/").split("/")
                if words == ["api", "version"]:
                    return 200, json.dumps({"ray_version": "2.60.0"})
                if words[:2] == ["api", "v0"]:
                    head.answers_states.wait()
                if words == ["api", "v0", "nodes"]:
                    return 200, json.dumps({"data": {"result": {"result": head.nodes}}})
                if words[:2] == ["api", "v0"]:
                    return 200, json.dumps({"data": {"result": {"result": head.waiting.get(words[2], [])}}})
                if words == ["nodes"]:
                    shown = {name: f"{each['CPU'][0]}/4.0 CPU\n0B/15.1GiB memory" for name, each in head.usage.items()}
                    return 200, json.dumps({"data": {"nodeLogicalResources": shown}})
                if words == ["api", "cluster_status"]:
                    state = {"loadMetricsReport": {"usageByNode": head.usage}, "autoscalerReport": head.report}
                    return 200, json.dumps({"data": {"clusterStatus": state}})
                if words == ["api", "jobs"] and self.command == "GET":
                    return 200, json.dumps(list(head.jobs.values()))
                if words == ["api", "jobs"]:
                    name = body["submission_id"]
                    if name in head.jobs:
                        return 500, f"Traceback ...\nValueError: Job with submission_id {name} already exists.\n"
                    head.jobs[name] = {**body, "status": "PENDING"}
                    return (504, "too late") if head.loses_answers else (200, json.dumps({"submission_id": name}))
                job = head.jobs.get(words[2])
                if job is None:
                    return 404, "no such job"
                if self.command == "DELETE":
                    del head.jobs[words[2]]
                if words[3:] == ["stop"]:
                    job["status"] = "STOPPED"
                return 200, json.dumps(job)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def has_node(self, name: str, used: float = 0.0, state: str = "ALIVE", **resources: float) -> None:
        node = {"node_id": name, "node_ip": "10.0.0.1", "is_head_node": False, "state": state}
        self.nodes.append({**node, "resources_total": resources})
        self.usage[name] = {"CPU": [used, resources.get("CPU", 0)]}

    def close(self) -> None:
        self.answers_states.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def head() -> Iterator[Head]:
    head = Head()
    yield head
    head.close()


@pytest.fixture
def executor(head: Head, tmp_path: Path) -> RayExecutor:
    return executor_of(head, tmp_path)


def until(is_so: Callable[[], bool]) -> None:
    """Looks until ``is_so()``."""
    own_network.until(is_so, "what is asserted")


def executor_of(head: Head, tmp_path: Path) -> RayExecutor:
    write_json(str(tmp_path / "tokens.json"), {head.url: TOKEN})
    return RayExecutor(tmp_path / "tokens.json", look_every_s=0.0, address=head.url, last_word_s=0.0)


def base(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "attempt-1"


def target(head: Head, **ray: Any) -> ComputeSpec:
    return ComputeSpec(name="c", executor="ray", max_nodes=0, ray=RaySpec(head.url, token=TOKEN, **ray))


def test_a_run_on_one_node_is_a_job_that_ray_puts_where_there_is_room(head: Head, tmp_path: Path) -> None:
    executor = executor_of(head, tmp_path)
    spec = target(head, cpus_per_node=4, gpus_per_node=2, memory_mb=1000, resources={"disk": 1})
    request = job_request(tmp_path / "it's here", "pass")
    plan = executor.plan(type(request)(request.run_id, 1, request.assignments, ["x"], spec, 1))
    submission = json.loads(plan.script)["submission"]
    asked = {name: value for name, value in submission.items() if name.startswith("entrypoint_")}
    assert asked == {
        "entrypoint_num_cpus": 4,
        "entrypoint_num_gpus": 1,
        "entrypoint_memory": 1_000_000_000,
        "entrypoint_resources": {"disk": 1},
    }
    assert "secret-token" not in plan.script and TOKEN not in plan.script


def test_a_gang_is_asked_for_by_a_driver_that_takes_nothing_itself(executor: RayExecutor, tmp_path: Path) -> None:
    plan = executor.plan(job_request(tmp_path, "pass", nodes=2))
    assert not any(name.startswith("entrypoint_") for name in json.loads(plan.script)["submission"])


def invited_gang(tmp_path: Path) -> JobRequest:
    """A request for two nodes that do not see the server's folder."""
    invited = [NodeInvitation("http://here:1", "run", 1, n, f"ticket-{n}", "0" * 64, "/tmp") for n in (0, 1, None)]
    request = job_request(tmp_path, "pass", nodes=2)
    return replace(request, argv=None, invitations=invited[:2], driver_invitation=invited[2])


def test_in_a_gang_without_a_folder_the_cluster_sees_no_ticket_but_the_drivers(
    head: Head, executor: RayExecutor, tmp_path: Path
) -> None:
    executor.start(executor.plan(invited_gang(tmp_path)))
    (job,) = head.jobs.values()
    assert "ticket-None" in job["entrypoint"] and "ticket-0" not in json.dumps(job) and "-S" not in job["entrypoint"]
    held = read_json(str(base(tmp_path) / "driver" / "task.json")) or {}
    assert [json.loads(line)["ticket"] for line in held["gang"]["nodes"]] == ["ticket-0", "ticket-1"]
    assert (base(tmp_path) / "driver" / "task.json").stat().st_mode & 0o777 == 0o600


def invited_alone(tmp_path: Path) -> JobRequest:
    """A request for one node that does not see the server's folder."""
    invited = NodeInvitation("http://here:1", "run", 1, 0, "ticket-0", "0" * 64, "/tmp")
    return replace(job_request(tmp_path, "pass"), argv=None, invitations=[invited])


@pytest.mark.parametrize("is_heard", [True, False])
def test_one_node_without_a_folder_has_a_driver_that_can_ask_ray_and_what_it_is_told_is_the_cause(
    head: Head, executor: RayExecutor, tmp_path: Path, is_heard: bool
) -> None:
    (handle,) = executor.start(executor.plan(invited_alone(tmp_path)))
    (job,) = head.jobs.values()
    assert " -S " not in job["entrypoint"].split(" -c ")[0]  # Ray is among that Python's packages
    task_folder.come_for(Path(handle.directory), NodeArrival("claim", "n1", 1))
    job["status"] = "RUNNING"
    assert executor.observe([handle])[handle].state is JobState.RUNNING
    assert not Path(handle.directory, "end").exists()
    if is_heard:
        said = DriverState(begun=True, leaving="its node abc is about to be taken away")
        assert task_folder.write_driver_state(Path(handle.directory), said)
        assert executor.observe([handle])[handle].state is JobState.RUNNING
        assert Path(handle.directory, "end").read_text() == "0"
    # The node goes before its job has ended, sooner than Ray had been told.
    job.update(status="FAILED", error_type="JOB_SUPERVISOR_ACTOR_DIED", message="Its node died.")
    until(lambda: executor.observe([handle])[handle].state.is_over)
    seen = executor.observe([handle])[handle]
    assert (seen.state, seen.cause) == (JobState.LOST, Reason.PREEMPTED if is_heard else Reason.NODE_LOST)


def test_a_node_of_a_gang_that_came_in_vain_is_told_with_the_cure(
    head: Head, executor: RayExecutor, tmp_path: Path
) -> None:
    handles = executor.start(executor.plan(invited_gang(tmp_path)))
    (job,) = head.jobs.values()
    job["status"] = "RUNNING"
    write_json(str(base(tmp_path) / "ray.state"), {"begun": True, "ended": {"1": bootstrap.NOT_REACHED}})
    seen = executor.observe(handles)
    assert seen[handles[0]].state is JobState.RUNNING
    assert (seen[handles[1]].state, seen[handles[1]].began) == (JobState.ENDED, False)
    assert "does not reach this server at" in seen[handles[1]].message and "--public-url" in seen[handles[1]].message


@pytest.mark.parametrize(
    ("code", "state", "signal", "words"),
    [
        (-9, JobState.ENDED, "SIGKILL", "was ended by SIGKILL"),
        (139, JobState.ENDED, "SIGSEGV", "was ended by SIGSEGV"),
        (127, JobState.LOST, None, "ended with exit code 127"),
        (0, JobState.LOST, None, "ended with exit code 0"),
    ],
)
@pytest.mark.parametrize("has_come", [True, False])
def test_a_node_of_a_gang_that_left_without_a_word_is_over_by_what_its_driver_saw(
    head: Head,
    executor: RayExecutor,
    tmp_path: Path,
    code: int,
    state: JobState,
    signal: str | None,
    words: str,
    has_come: bool,
) -> None:
    handles = executor.start(executor.plan(invited_gang(tmp_path)))
    (job,) = head.jobs.values()
    job["status"] = "RUNNING"
    if has_come:
        write_json(str(Path(handles[1].directory, WHERE_FILE)), {"claim": "c"})
    write_json(str(base(tmp_path) / "ray.state"), {"begun": True, "ended": {"1": code}})
    assert executor.observe(handles)[handles[1]].state is JobState.RUNNING  # its own word may be on its way
    until(lambda: executor.observe(handles)[handles[1]].state.is_over)
    seen = executor.observe(handles)
    assert seen[handles[0]].state is JobState.RUNNING
    assert (seen[handles[1]].state, seen[handles[1]].signal, seen[handles[1]].began) == (state, signal, has_come)
    assert words in seen[handles[1]].message and "on node 1" in seen[handles[1]].message


def test_a_node_of_a_gang_that_says_itself_how_it_ended_is_believed(
    head: Head, executor: RayExecutor, tmp_path: Path
) -> None:
    handles = executor.start(executor.plan(invited_gang(tmp_path)))
    (job,) = head.jobs.values()
    job["status"] = "RUNNING"
    write_json(str(base(tmp_path) / "ray.state"), {"begun": True, "ended": {"0": 1, "1": 1}})
    executor.observe(handles)
    end = {"exit_code": 1, "signal": None, "salvage": 0}
    write_json(str(Path(handles[1].directory, EXIT_FILE)), end)
    seen = executor.observe(handles)[handles[1]]
    assert (seen.state, seen.exit_code) == (JobState.ENDED, 1)


def test_a_gangs_driver_that_does_not_reach_the_server_is_the_head(
    head: Head, executor: RayExecutor, tmp_path: Path
) -> None:
    handles = executor.start(executor.plan(invited_gang(tmp_path)))
    (job,) = head.jobs.values()
    job.update(status="FAILED", error_type="JOB_ENTRYPOINT_COMMAND_ERROR", driver_exit_code=bootstrap.NOT_REACHED)
    for seen in executor.observe(handles).values():
        assert (seen.state, seen.began) == (JobState.ENDED, False)
        assert "the cluster's head (the gang's driver) does not reach this server at" in seen.message


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (None, "starts its driver"),
        ({"waiting": "waits for 2 nodes with 1 CPU: 1 of 2 such nodes are here"}, "1 of 2 such nodes are here"),
    ],
)
def test_a_gang_that_waits_is_pending_with_what_its_driver_says(
    head: Head, executor: RayExecutor, tmp_path: Path, told: dict[str, str] | None, message: str
) -> None:
    handles = executor.start(executor.plan(job_request(tmp_path, "pass", nodes=2)))
    (job,) = head.jobs.values()
    job["status"] = "RUNNING"
    if told is not None:
        write_json(str(base(tmp_path) / "ray.state"), told)
    for seen in executor.observe(handles).values():
        assert seen.state is JobState.PENDING and message in seen.message


@pytest.mark.parametrize(
    ("report", "nodes", "words"),
    [
        ({"nodeTypeMapping": {"a": "ray.worker.default"}}, 2, "is scaling: it waits for"),
        ({"legacy": True, "nodeTypeMapping": {"a": "node_a"}}, 2, " waits for 2 nodes"),
        ({"nodeTypeMapping": {"a": "ray.worker.default"}}, 1, "is scaling: it waits for a node with 1 CPU, and none"),
        ({"legacy": True, "nodeTypeMapping": {"a": "node_a"}}, 1, "waits for a node with 1 CPU to have room"),
    ],
)
def test_a_run_that_waits_for_nodes_of_an_autoscaler_is_scaling(
    head: Head, executor: RayExecutor, tmp_path: Path, report: dict[str, Any], nodes: int, words: str
) -> None:
    head.report = report
    handles = executor.start(executor.plan(job_request(tmp_path, "pass", nodes=nodes)))
    (job,) = head.jobs.values()
    job["status"] = "RUNNING" if nodes > 1 else "PENDING"
    write_json(str(base(tmp_path) / "ray.state"), {"waiting": "waits for 2 nodes", "asked": 2, "here": 1})
    executor.count_nodes(target(head))  # what is known of the cluster
    for seen in executor.observe(handles).values():
        assert seen.state is JobState.PENDING and words in seen.message
        assert ("is scaling" in words) == ("is scaling" in seen.message)


def test_a_state_api_that_does_not_answer_holds_nobody_up_and_its_answer_is_used_when_it_comes(
    head: Head, executor: RayExecutor, tmp_path: Path
) -> None:
    head.report = {"nodeTypeMapping": {"a": "ray.worker.default"}}
    head.answers_states.clear()
    (handle,) = executor.start(executor.plan(job_request(tmp_path, "pass")))
    for _ in range(50):
        assert executor.observe([handle])[handle].message.endswith(" waits for a node with 1 CPU to have room")
    head.answers_states.set()
    until(lambda: "is scaling" in executor.observe([handle])[handle].message)
    assert head.asked.count("GET /api/v0/nodes") == 1  # who waits for an answer in vain asks again


def test_a_lost_node_is_told_with_its_cause_and_the_others_go_on(
    head: Head, executor: RayExecutor, tmp_path: Path
) -> None:
    handles = executor.start(executor.plan(job_request(tmp_path, "pass", nodes=2)))
    (job,) = head.jobs.values()
    job["status"] = "RUNNING"
    lost = {"1": {"cause": "node_lost", "message": "its node abc died"}}
    write_json(str(base(tmp_path) / "ray.state"), {"begun": True, "lost": lost})
    seen = executor.observe(handles)
    assert seen[handles[0]].state is JobState.RUNNING
    assert (seen[handles[1]].state, seen[handles[1]].cause) == (JobState.LOST, Reason.NODE_LOST)
    assert "lost node 1: its node abc died" in seen[handles[1]].message


def test_a_job_that_has_begun_since_ray_was_asked_is_running(head: Head, executor: RayExecutor, tmp_path: Path) -> None:
    handles = executor.start(executor.plan(job_request(tmp_path, "pass", nodes=2)))
    (job,) = head.jobs.values()
    job["status"] = "PENDING"
    assert {seen.state for seen in executor.observe(handles).values()} == {JobState.PENDING}
    write_json(str(base(tmp_path) / "ray.state"), {"begun": True})
    assert {seen.state for seen in executor.observe(handles).values()} == {JobState.RUNNING}


@pytest.mark.parametrize("code", [0, 1])
def test_a_gang_of_which_a_node_is_about_to_be_taken_away_is_asked_to_end_and_was_preempted_however_it_did(
    head: Head, executor: RayExecutor, tmp_path: Path, code: int
) -> None:
    handles = executor.start(executor.plan(job_request(tmp_path, "pass", nodes=2)))
    (job,) = head.jobs.values()
    job["status"] = "RUNNING"
    state = str(base(tmp_path) / "ray.state")
    write_json(state, {"begun": True})
    executor.observe(handles)
    assert not any(Path(handle.directory, "end").exists() for handle in handles)
    write_json(state, {"begun": True, "leaving": "its node abc is about to be taken away"})
    assert {seen.state for seen in executor.observe(handles).values()} == {JobState.RUNNING}
    for handle in handles:
        assert Path(handle.directory, "end").read_text() == "0"
        end = {"exit_code": code, "signal": None, "message": "", "salvage": 0}
        write_json(str(Path(handle.directory, "exit.json")), end)
    for seen in executor.observe(handles).values():
        assert (seen.state, seen.cause, seen.exit_code) == (JobState.ENDED, Reason.PREEMPTED, code)
        assert seen.message.endswith("was told to end: its node abc is about to be taken away")


def test_a_start_whose_answer_was_lost_finds_the_job_and_submits_no_second_one(
    head: Head, executor: RayExecutor, tmp_path: Path
) -> None:
    plan = executor.plan(job_request(tmp_path, "pass"))
    head.loses_answers = True
    with pytest.raises(EngineAwayError, match="HTTP 504"):
        executor.start(plan)
    head.loses_answers = False
    (handle,) = executor_of(head, tmp_path).start(plan)
    assert len(head.jobs) == 1
    assert head.asked.count("POST /api/jobs/") == 1
    assert handle.job_id.split("|")[1] in head.jobs


def test_an_id_that_is_somebody_elses_is_refused_in_rays_words(
    head: Head, executor: RayExecutor, tmp_path: Path
) -> None:
    plan = executor.plan(job_request(tmp_path, "pass"))
    name = json.loads(plan.script)["submission"]["submission_id"]
    head.jobs[name] = {"submission_id": name, "status": "RUNNING", "metadata": {"who": "somebody"}}
    with pytest.raises(StartFailedError, match=r"Ray refused the job: ValueError: Job with .* already exists"):
        executor.start(plan)


@pytest.mark.parametrize(
    ("error_type", "message"),
    [
        ("JOB_SUPERVISOR_ACTOR_START_TIMEOUT", "failed to start within 900 s"),
        ("JOB_SUPERVISOR_ACTOR_DIED", "The actor died because its node has died.\nThe actor never ran"),
    ],
)
def test_a_job_that_ray_gave_up_while_it_waited_is_asked_for_again(
    head: Head, executor: RayExecutor, tmp_path: Path, error_type: str, message: str
) -> None:
    (handle,) = executor.start(executor.plan(job_request(tmp_path, "pass")))
    (job,) = head.jobs.values()
    job.update(status="FAILED", error_type=error_type, message=message)
    assert executor.observe([handle])[handle].state is JobState.PENDING
    (again,) = head.jobs.values()
    assert again["status"] == "PENDING"
    assert again["entrypoint_num_cpus"] == 1
    assert executor.observe([handle])[handle].state is JobState.PENDING
    assert head.asked.count("POST /api/jobs/") == 2


def test_a_job_that_somebody_was_about_to_begin_when_its_node_died_is_not_begun_twice(
    head: Head, executor: RayExecutor, tmp_path: Path
) -> None:
    (handle,) = executor.start(executor.plan(job_request(tmp_path, "pass")))
    assert take(str(base(tmp_path) / "ray.job"), "driver")
    (job,) = head.jobs.values()
    job.update(status="FAILED", error_type="JOB_SUPERVISOR_ACTOR_DIED", message="its node has died")
    assert executor.observe([handle])[handle].state is JobState.ENDED
    assert head.asked.count("POST /api/jobs/") == 1


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("was preempted: a spot node", Reason.PREEMPTED),
        ("was terminated unexpectedly: no heartbeats", Reason.NODE_LOST),
    ],
)
def test_a_job_whose_node_is_gone_was_preempted_where_ray_had_been_told_of_that(
    head: Head, executor: RayExecutor, tmp_path: Path, words: str, cause: Reason
) -> None:
    (handle,) = executor.start(executor.plan(job_request(tmp_path, "pass")))
    write_json(str(base(tmp_path) / "ray.state"), {"begun": True})
    (job,) = head.jobs.values()
    message = f"The actor died because its node has died.\n\tthe actor's node {words}"
    job.update(status="FAILED", error_type="JOB_SUPERVISOR_ACTOR_DIED", message=message)
    until(lambda: executor.observe([handle])[handle].state.is_over)
    assert executor.observe([handle])[handle].cause is cause


@pytest.mark.parametrize("firmly", [False, True])
def test_a_job_that_waits_is_taken_back_at_once_though_ray_keeps_it(
    head: Head, executor: RayExecutor, tmp_path: Path, firmly: bool
) -> None:
    (handle,) = executor.start(executor.plan(job_request(tmp_path, "pass")))
    executor.cancel([handle], firmly)
    (job,) = head.jobs.values()
    job["status"] = "PENDING"  # until there is room for it
    seen = executor.observe([handle])[handle]
    assert (seen.state, seen.signal, seen.began) == (JobState.ENDED, "SIGKILL", False)
    begins = GangInFolder(str(base(tmp_path)), "ray", read_json(str(base(tmp_path) / "ray.json")) or {})
    assert begins.run_alone() == 0
    assert not (base(tmp_path) / "ray.state").exists()


def test_a_job_that_has_begun_is_ended_by_its_task(head: Head, executor: RayExecutor, tmp_path: Path) -> None:
    (handle,) = executor.start(executor.plan(job_request(tmp_path, "pass")))
    assert take(str(base(tmp_path) / "ray.job"), "driver")
    executor.cancel([handle], firmly=False)
    assert Path(handle.directory, END_FILE).read_text() == "0"
    assert not [asked for asked in head.asked if asked.endswith("/stop")]
    executor.cancel([handle], firmly=True)
    assert Path(handle.directory, KILL_FILE).read_text() == "0"
    assert [asked for asked in head.asked if asked.endswith("/stop")]


def test_a_driver_that_could_not_begin_says_why(head: Head, executor: RayExecutor, tmp_path: Path) -> None:
    (handle,) = executor.start(executor.plan(job_request(tmp_path, "pass")))
    (job,) = head.jobs.values()
    said = (
        "Job entrypoint command failed with exit code 71, last available logs:\nnode7 does not see the server's folder"
    )
    job.update(status="FAILED", error_type="JOB_ENTRYPOINT_COMMAND_ERROR", message=said, driver_exit_code=71)
    seen = executor.observe([handle])[handle]
    assert (seen.state, seen.exit_code, seen.began) == (JobState.ENDED, 71, False)
    assert "node7 does not see the server's folder" in seen.message


def test_a_thousand_jobs_cost_one_look(head: Head, tmp_path: Path) -> None:
    write_json(str(tmp_path / "tokens.json"), {head.url: TOKEN})
    executor = RayExecutor(tmp_path / "tokens.json", look_every_s=60, address=head.url)
    (handle,) = executor.start(executor.plan(job_request(tmp_path, "pass")))
    known = executor.observe([handle])
    more = [type(handle)("ray", f"r{n}", 1, 0, str(tmp_path / "gone"), f"{head.url}|j{n}|0|0") for n in range(1000)]
    for n in range(1000):
        head.jobs[f"j{n}"] = {"submission_id": f"j{n}", "status": "PENDING"}
    before = len(head.asked)
    for _ in range(20):
        executor.observe(more)
    assert known[handle].state is JobState.PENDING
    assert head.asked[before:].count("GET /api/jobs/") <= 1


def test_a_ray_that_is_away_loses_no_job_and_gets_nothing_meanwhile(
    head: Head, executor: RayExecutor, tmp_path: Path
) -> None:
    plan = executor.plan(job_request(tmp_path, "pass"))
    (handle,) = executor.start(plan)
    head.close()
    later = executor_of(head, tmp_path)
    with pytest.raises(EngineAwayError, match="does not answer"):
        later.observe([handle])
    with pytest.raises(EngineAwayError, match="does not answer"):
        later.start(later.plan(job_request(tmp_path / "other", "pass")))


def test_a_job_that_ray_has_forgotten_is_known_by_its_last_word(
    head: Head, executor: RayExecutor, tmp_path: Path
) -> None:
    (handle,) = executor.start(executor.plan(job_request(tmp_path, "pass")))
    head.jobs.clear()
    end = {"exit_code": None, "signal": "SIGSEGV", "salvage": 0}
    write_json(str(Path(handle.directory, EXIT_FILE)), end)
    assert executor.observe([handle])[handle].signal == "SIGSEGV"


def test_the_token_is_kept_apart_in_a_file_of_its_own(head: Head, tmp_path: Path) -> None:
    head.has_node("a", CPU=4)
    executor = RayExecutor(tmp_path / "tokens.json")
    found = executor.check(target(head))
    assert found.ray is not None and found.ray.token is None and found.max_nodes == 1
    assert TOKEN not in json.dumps(to_json(found))
    assert (tmp_path / "tokens.json").stat().st_mode & 0o777 == 0o600
    assert read_json(str(tmp_path / "tokens.json")) == {head.url: TOKEN}
    assert RayExecutor(tmp_path / "tokens.json").check(found) == found  # later, with the token that it has


def test_a_wrong_token_is_refused_and_not_kept(head: Head, tmp_path: Path) -> None:
    executor = RayExecutor(tmp_path / "tokens.json")
    spec = ComputeSpec(name="c", ray=RaySpec(head.url, token="wrong"))
    with pytest.raises(ComputeTargetException, match="does not take this token"):
        executor.check(spec)
    assert not (tmp_path / "tokens.json").exists()


def test_nodes_are_counted_by_what_they_have_and_give(head: Head, executor: RayExecutor) -> None:
    head.has_node("head", CPU=0)
    head.has_node("busy", used=1, CPU=4)
    head.has_node("free", CPU=4)
    head.has_node("gone", state="DEAD", CPU=4)
    head.report = {"pendingNodes": [["10.0.0.9", "worker", "setting-up"]], "pendingLaunches": {"worker": 2}}
    for _ in range(3):
        assert executor.count_nodes(target(head)) == NodeCounts(running=1, idle=1, preparing=3)
    assert head.asked.count("GET /api/v0/nodes") == 1


def test_where_the_autoscaler_is_silent_what_waits_shows_which_nodes_are_on_their_way(
    head: Head, executor: RayExecutor
) -> None:
    head.report = {}
    head.has_node("head", CPU=0)
    head.has_node("busy", used=1, CPU=4)
    head.has_node("free", CPU=4)
    head.waiting = {
        "placement_groups": [{"bundles": [{"unit_resources": {"CPU": 4.0}}] * 3}],
        "actors": [
            {"required_resources": {"CPU": 4.0}, "placement_group_id": None},
            {"required_resources": {"CPU_group_0_c5": 4.0}, "placement_group_id": "c5"},
            {"required_resources": {"CPU": 4.0}, "placement_group_id": None, "pid": 12},
            {"required_resources": {}, "placement_group_id": None},
        ],
    }
    for most, preparing in ((8, 3), (3, 1), (2, 0)):
        spec = replace(target(head), max_nodes=most)
        assert executor.count_nodes(spec) == NodeCounts(running=1, idle=1, preparing=preparing)


def test_a_cluster_with_an_autoscaler_may_be_asked_for_more_than_is_here(head: Head, executor: RayExecutor) -> None:
    head.has_node("a", CPU=4)
    more = ComputeSpec(name="c", max_nodes=8, ray=RaySpec(head.url, token=TOKEN))
    with pytest.raises(ComputeTargetException, match="max_nodes=8 is more than this cluster has"):
        executor.check(more)
    head.report = {"nodeTypeMapping": {"a": "ray.worker.default"}}
    assert executor.check(more).max_nodes == 8
    head.report = {}  # the second autoscaler says nothing here
    assert executor.check(more).max_nodes == 8


def test_what_a_node_is_to_have_is_its_sizes_and_the_run_s_own_gpus() -> None:
    sized = ComputeSpec(name="c", vm_size="STANDARD_NC6", ray=RaySpec("http://h:1"))
    assert bundle(sized) == {"CPU": 6, "GPU": 1}
    assert bundle(sized, 0) == {"CPU": 6}
    assert bundle(ComputeSpec(name="c", ray=RaySpec("http://h:1"))) == {"CPU": 1}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cpus_per_node": -1}, "cpus_per_node is 0 or more"),
        ({"max_jobs": 0}, "max_jobs is 1 or more"),
        ({"resources": {"GPU": 1}}, "CPUs, GPUs and memory are cpus_per_node"),
        ({"python": "a\nb"}, "python is the command"),
    ],
)
def test_what_cannot_be_asked_of_ray_is_refused(
    head: Head, executor: RayExecutor, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ComputeTargetException, match=words):
        executor.check(target(head, **changes))


def test_a_target_that_names_no_cluster_says_how_to_name_one(executor: RayExecutor) -> None:
    with pytest.raises(ComputeTargetException, match="RayCompute.attach_configuration"):
        executor.check(ComputeSpec(name="c", executor="ray"))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://head:8265/", "http://head:8265"),
        ("head", "http://head:8265"),
        ("https://ray.example.org/team", "https://ray.example.org/team"),
    ],
)
def test_an_address_is_kept_in_one_form(given: str, kept: str) -> None:
    assert clean_address(given) == kept


@pytest.mark.parametrize(
    "address", ["", "ray://head:10001", "http://user:secret@head", "http://head:x", "http://h?q=1"]
)
def test_what_is_no_dashboards_address_is_refused(address: str) -> None:
    with pytest.raises(ComputeTargetException, match="address is that of the Ray cluster's dashboard"):
        clean_address(address)


def test_every_state_and_error_of_rays_has_words_that_follow_a_jobs_name() -> None:
    words = [meaning.words for name, meaning in JOB_STATES.items() if name != "RUNNING"] + list(JOB_ERRORS.values())
    assert all(word and word[0].islower() and not word.endswith(".") for word in words)
