"""On a real Slurm: its daemons, a job, a rank and the server killed in each status, and what Slurm itself ends.

A run is held in its status from outside, as in ``test_kills.py``; Queued: another job of Slurm's has all nodes.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runyard import ComputeTarget, SlurmCompute
from runyard_server.testing.gateway import Gateway
from runyard_server.testing.slurm_cluster import started_cluster
from runyard_server.testing.slurm_yard import SlurmYard
from tests.chaos.holds import Gate, eventually
from tests.chaos.on_engines import (
    ELSE,
    MORE,
    SOME,
    Case,
    collecting_job_is_killed,
    ends,
    finalizing,
    in_status,
    is_the_job,
    job_is_killed,
    node_is_cut_off,
    rank_is_killed,
    running,
    server_is_killed,
    submitted,
)
from tests.chaos.report import Row

pytestmark = pytest.mark.slurm

WITHIN_S = 240.0  # Slurm and its commands take their time where others work, too


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmYard]:
    """A cluster of this module's own, and a workspace on it."""
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("RUNYARD_HOME", str(tmp_path_factory.mktemp("slurm")))
        with started_cluster(limits_memory=True) as cluster, cluster.inside():
            yard = SlurmYard(cluster, "chaos")
            asked = SlurmCompute.provisioning_configuration(partition="main", memory_mb=250, python=sys.executable)
            ComputeTarget.create(yard.workspace, "small", asked)
            yield yard
            yard.close()


def jobs_of(case: Case) -> list[str]:
    """The names of Slurm's jobs of the run's first attempt."""
    names = case.yard.cluster.call("squeue", "-h", "-t", "all", "-o", "%j").split()
    return [name for name in names if name == f"{case.run.id}.1"]


def node_of(case: Case) -> str:
    """The name of the node that the run is on; "" while it is on none."""
    shown = case.yard.cluster.call("squeue", "-h", "-t", "RUNNING", "--name", f"{case.run.id}.1", "-o", "%N")
    return str(shown.strip())


@contextmanager
def queued(yard: SlurmYard, folder: Path, **config: Any) -> Iterator[Case]:
    free = yard.cluster.fill()
    run, witness = submitted(yard, folder, SOME + MORE, **config)
    yard.until(lambda: "(Resources)" in yard.why(run) or "(Priority)" in yard.why(run), "a run in Slurm's queue")
    yield Case(yard, run, witness, free)


HOLDS: dict[str, Callable[..., Any]] = {"Queued": queued, "Running": running, "Finalizing": finalizing}


@in_status("Slurm: kill -9 of the node's slurmd, which is started again", "Queued", "Running", "Finalizing")
def test_a_run_does_not_notice_that_its_nodes_daemon_was_killed(
    slurm: SlurmYard, row: Row, tmp_path: Path, status: str
) -> None:
    with HOLDS[status](slurm, tmp_path) as case:
        name = node_of(case) or "n1"
        slurm.cluster.kill_daemon(name)
        try:
            assert case.run.get_status() == status
        finally:
            slurm.cluster.start_node(name)
        case.release()
        ends(case, row, "Completed")
    row.outcome = "goes on, Completed"


@in_status("Slurm: kill -9 of the server", "Queued", "Running", "Finalizing")
def test_a_run_on_slurm_goes_on_when_its_server_is_back(
    slurm: SlurmYard, row: Row, tmp_path: Path, status: str
) -> None:
    server_is_killed(HOLDS[status](slurm, tmp_path), row, status, jobs_of)


@pytest.mark.chaos("Slurm: kill -9 of a rank", "Running")
def test_a_rank_on_slurm_that_is_killed_is_the_cause(slurm: SlurmYard, row: Row, tmp_path: Path) -> None:
    rank_is_killed(slurm, row, tmp_path)


@pytest.mark.chaos("Slurm: kill -9 of the job", "Running")
def test_a_job_on_slurm_that_is_killed_is_the_cause(slurm: SlurmYard, row: Row, tmp_path: Path) -> None:
    job_is_killed(slurm, row, tmp_path)


@pytest.mark.chaos("Slurm: kill -9 of the job of a run with a second attempt", "Running")
def test_a_job_on_slurm_that_is_killed_is_tried_again(slurm: SlurmYard, row: Row, tmp_path: Path) -> None:
    with running(slurm, tmp_path, ELSE + SOME + "w.wait('here')\n", max_attempts=2) as case:
        case.kill(is_the_job)
        record = ends(case, row, "Completed")
    assert [each["reason"] for each in record["attempts"]] == ["job_lost"]
    row.outcome = "Completed, in its second attempt"


@pytest.mark.chaos("Slurm: kill -9 of the job", "Finalizing")
def test_what_a_job_on_slurm_did_not_collect_is_collected(slurm: SlurmYard, row: Row, tmp_path: Path) -> None:
    collecting_job_is_killed(slurm, row, tmp_path)


SAVES = """
import signal
def save(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Slurm sends it to all that runs on a node, and the job passes it on
    w.lines(7); w.file('outputs/saved', 70_000)
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
"""


@pytest.mark.chaos("Slurm: preempted by a job of another partition; a second attempt", "Running")
def test_a_preempted_script_has_its_grace_time_and_is_tried_again(slurm: SlurmYard, row: Row, tmp_path: Path) -> None:
    with running(slurm, tmp_path, ELSE + SAVES + SOME + "w.wait('here')\n", max_attempts=2) as case:
        urgent = ["sbatch", "--partition=urgent", f"--nodelist={node_of(case)}", "--exclusive", "--output=/dev/null"]
        slurm.cluster.call(*urgent, "--wrap=true")
        record = ends(case, row, "Completed")
    (attempt,) = record["attempts"]
    assert attempt["reason"] == "preempted" and "was preempted by a job of higher priority" in attempt["message"]
    assert attempt["saved_at"] is not None and "outputs/saved" in case.run.get_file_names()
    row.outcome = "Completed, in its second attempt"


@pytest.mark.chaos("Slurm: the time limit", "Running")
def test_a_script_that_reaches_slurms_time_limit_has_its_grace_time(slurm: SlurmYard, row: Row, tmp_path: Path) -> None:
    script = SAVES.replace("sys.exit(0)", "w.lines(1)") + SOME + "w.wait('here')\n"
    with running(slurm, tmp_path, script) as case:
        (number,) = slurm.cluster.call("squeue", "-h", "--name", f"{case.run.id}.1", "-o", "%i").split()
        slurm.cluster.call("scontrol", "update", f"JobId={number}", "EndTime=now+1")  # it is seen within 30 s
        ends(case, row, "Failed", "time_limit")
    assert "outputs/saved" in case.run.get_file_names()
    row.outcome = "Failed: time limit"


@pytest.mark.chaos("Slurm: more memory than was asked for", "Running")
def test_a_script_that_takes_too_much_memory_is_told_so(slurm: SlurmYard, row: Row, tmp_path: Path) -> None:
    script = SOME + "w.wait('here')\nhog = [bytearray(b'x') * (1 << 20) for _ in range(400)]\nw.wait('there')\n"
    with running(slurm, tmp_path, script, compute_target="small") as case:
        case.release()
        ends(case, row, "Failed", "out_of_memory")
    row.outcome = "Failed: out of memory"


@pytest.mark.chaos("Slurm: the node is cut off from the server for a while", "Running")
def test_a_node_that_is_cut_off_for_a_while_loses_nothing(slurm: SlurmYard, row: Row, tmp_path: Path) -> None:
    node_is_cut_off(slurm, row, tmp_path, lambda _: slurm.cluster.cut_off(8000), WITHIN_S)


# The first attempt's lines come before its node is cut off, the second one's points and file after that. What the
# first one writes when it is over, no journal has: it must be nowhere.
OUTLIVES = """
from runyard import Run
if os.environ["RUNYARD_RUN_ATTEMPT"] == "1":
    w.lines(50)
    w.wait("here")
    print("too late")
    Run.get_context().log("late", 1)
    os.makedirs("outputs", exist_ok=True)
    open("outputs/late", "w").write("late")
    w.wait("late")
else:
    w.points(30); w.file("outputs/after", 70_000)
    w.wait("second")
"""


@pytest.mark.chaos("Slurm: the node is cut off, given up and comes back; a second attempt", "Running")
def test_a_node_that_comes_back_when_it_was_given_up_is_not_heard_and_ends_what_it_runs(
    slurm: SlurmYard, row: Row, tmp_path: Path
) -> None:
    cluster = slurm.cluster
    own = SlurmCompute.provisioning_configuration(
        partition="main", cpus_per_node=2, python=sys.executable, scratch=str(tmp_path / "disk")
    )
    ComputeTarget.create(slurm.workspace, "own-disks", own)
    gateway = Gateway(cluster.address, 8001, to=8000)
    restart(slurm, gateway.url)
    try:
        with running(slurm, tmp_path, OUTLIVES, compute_target="own-disks", max_attempts=2) as case:
            slurm.until(lambda: slurm.log(case.run, LOG).count("\n") == 50, "the lines of the first attempt")
            old, node = set(case.left()), node_of(case)
            restart(slurm, "")  # who comes now finds the server where it is
            gateway.shut()
            with cluster.cut_off(cluster.ports[node]):
                cluster.give_up(node)
                second = Gate(case.witness, "second")
                second.reached(slurm.patience_s)
                case.release()
                Gate(case.witness, "late").reached(slurm.patience_s)
                assert old <= set(case.left()), "the old attempt was to go on"
                gateway.open()
                eventually(lambda: not old & set(case.left()), "the end of the old attempt", WITHIN_S)
                assert gateway.has_answered(b'"attempt_over"')
                assert case.left() and case.run.get_status() == "Running"
            second.open()
            record = ends(case, row, "Completed")
    finally:
        gateway.close()
        restart(slurm, "")
    assert [each["reason"] for each in record["attempts"]] == ["node_lost"]
    row.outcome = "Completed, in its second attempt; the first one is refused, and ends"


LOG = "azureml-logs/70_driver_log.txt"


def restart(slurm: SlurmYard, public_url: str) -> None:
    """Kills the server and starts it again, as one that tells the nodes this address."""
    slurm.kill_server()
    slurm.public_url = public_url
    slurm.server = slurm.start_server()
