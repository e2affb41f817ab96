"""On a real Ray: its nodes' daemons, a job, a rank and the server killed in each status, its head and a node cut off.

A run is held in its status from outside, as in ``test_kills.py``; Queued: other jobs of Ray's have all nodes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runyard_server.testing.ray_cluster import started_cluster
from runyard_server.testing.ray_yard import RayYard
from tests.chaos.holds import eventually
from tests.chaos.on_engines import (
    ELSE,
    MORE,
    SOME,
    Case,
    collecting_job_is_killed,
    ends,
    finalizing,
    in_status,
    job_is_killed,
    node_is_cut_off,
    rank_is_killed,
    running,
    server_is_killed,
    submitted,
)
from tests.chaos.report import Row

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayYard]:
    """A cluster that waits long for a node that does not answer, and a workspace on it."""
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("RUNYARD_HOME", str(tmp_path_factory.mktemp("ray")))
        with started_cluster(silence_s=120) as cluster, cluster.inside():
            yard = RayYard(cluster, "chaos")
            yield yard
            yard.close()


@contextmanager
def queued(yard: RayYard, folder: Path, **config: Any) -> Iterator[Case]:
    free = yard.cluster.fill()
    run, witness = submitted(yard, folder, SOME + MORE, **config)
    yard.until(lambda: "to have room" in yard.why(run), "a run that waits in Ray")
    yield Case(yard, run, witness, free)


HOLDS: dict[str, Callable[..., Any]] = {"Queued": queued, "Running": running, "Finalizing": finalizing}


def jobs_of(case: Case) -> list[str]:
    """Ray's jobs of the run's first attempt."""
    names = [job["submission_id"] or "" for job in case.yard.cluster.ask("/api/jobs/")]
    return [name for name in names if name.startswith(f"{case.run.id}.1.")]


def node_of(case: Case) -> str:
    """The name of the node that the run is on."""
    (own,) = jobs_of(case)
    return str(case.yard.cluster.node_of(own))


def is_away(yard: RayYard) -> bool:
    """Whether the server says that Ray does not answer."""
    return any("does not answer" in str(each) for each in yard.compute.get_status().errors or [])


@in_status("Ray: kill -9 of the server", "Queued", "Running", "Finalizing")
def test_a_run_on_ray_goes_on_when_its_server_is_back(ray: RayYard, row: Row, tmp_path: Path, status: str) -> None:
    server_is_killed(HOLDS[status](ray, tmp_path), row, status, jobs_of)


@pytest.mark.chaos("Ray: kill -9 of a rank", "Running")
def test_a_rank_on_ray_that_is_killed_is_the_cause(ray: RayYard, row: Row, tmp_path: Path) -> None:
    rank_is_killed(ray, row, tmp_path)


@pytest.mark.chaos("Ray: kill -9 of the job", "Running")
def test_a_job_on_ray_that_is_killed_is_the_cause(ray: RayYard, row: Row, tmp_path: Path) -> None:
    job_is_killed(ray, row, tmp_path)


@pytest.mark.chaos("Ray: kill -9 of the job", "Finalizing")
def test_what_a_job_on_ray_did_not_collect_is_collected(ray: RayYard, row: Row, tmp_path: Path) -> None:
    collecting_job_is_killed(ray, row, tmp_path)


@pytest.mark.chaos("Ray: kill -9 of a node's raylet, which is started again", "Queued")
def test_a_run_that_waits_in_ray_does_not_notice_that_a_node_was_killed(ray: RayYard, row: Row, tmp_path: Path) -> None:
    with queued(ray, tmp_path) as case:
        with case.yard.cluster.without_node("n1"):
            assert case.run.get_status() == "Queued"
        case.release()
        ends(case, row, "Completed")
    row.outcome = "goes on, Completed"


@pytest.mark.chaos("Ray: kill -9 of the node's raylet", "Running")
def test_a_node_of_rays_that_is_killed_is_the_cause(ray: RayYard, row: Row, tmp_path: Path) -> None:
    with running(ray, tmp_path) as case, case.yard.cluster.without_node(node_of(case)):
        ends(case, row, "Failed", "node_lost")
    row.outcome = "Failed: the node was lost"


@pytest.mark.chaos("Ray: kill -9 of the node's raylet; a second attempt", "Running")
def test_a_run_goes_on_on_another_node_of_rays_from_what_it_had_left(ray: RayYard, row: Row, tmp_path: Path) -> None:
    script = ELSE + SOME + "w.wait('here')\n"
    with running(ray, tmp_path, script, max_attempts=2) as case:
        with case.yard.cluster.without_node(node_of(case)):
            record = ends(case, row, "Completed")
    (attempt,) = record["attempts"]
    assert (record["attempt"], attempt["reason"]) == (2, "node_lost"), attempt
    assert attempt["saved_at"] is not None and attempt["lost_work_s"] > 0
    row.outcome = "Completed, in its second attempt on another node"


@pytest.mark.chaos("Ray: kill -9 of the node's raylet", "Finalizing")
def test_what_a_node_of_rays_did_not_collect_is_collected(ray: RayYard, row: Row, tmp_path: Path) -> None:
    with finalizing(ray, tmp_path) as case:
        first = set(case.left())
        with case.yard.cluster.without_node(node_of(case)):
            eventually(lambda: not first.intersection(case.left()), "the end of the first job", ray.patience_s)
            case.release()
            ends(case, row, "Completed")
    row.outcome = "collected by another job, Completed"


@in_status("Ray: its head does not answer for a while", "Queued", "Running", "Finalizing")
def test_a_head_that_is_away_for_a_while_costs_nothing(ray: RayYard, row: Row, tmp_path: Path, status: str) -> None:
    with HOLDS[status](ray, tmp_path) as case:
        with ray.cluster.cut_off(8265):
            ray.until(lambda: is_away(ray), "Ray that does not answer")
            assert case.run.get_status() == status
            if status != "Queued":
                case.release()
                eventually(lambda: not case.left(), lambda: f"the end of {case.left()}", ray.patience_s)
        if status == "Queued":
            case.release()  # through the head
        ends(case, row, "Completed")
    assert "NotResponding" not in case.story() and case.story().count("Running") == 1
    row.outcome = "goes on, Completed"


@pytest.mark.chaos("Ray: the node is cut off from the server and the head for a while", "Running")
def test_a_node_of_rays_that_is_cut_off_for_a_while_loses_nothing(ray: RayYard, row: Row, tmp_path: Path) -> None:
    node_is_cut_off(ray, row, tmp_path, lambda case: ray.cluster.cut_off(8000, node_of(case)), ray.patience_s)
