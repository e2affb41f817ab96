"""On a real Slurm: its daemons, a job, a rank and the server killed in each status, and what Slurm itself ends.

A run is held in its status from outside, as in ``test_kills.py``; Queued: another job of Slurm's has all nodes.
"""

import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runyard import ComputeTarget, SlurmCompute
from runyard.job import processes
from runyard.run import Run
from runyard_server.testing.slurm_cluster import started_cluster
from runyard_server.testing.slurm_yard import SlurmYard
from tests.chaos.holds import Gate, Hang, eventually
from tests.chaos.judge.verdict import judge
from tests.chaos.report import Row
from tests.chaos.yard import HEAD, JUDGE, environment

pytestmark = pytest.mark.slurm

WITHIN_S = 90.0  # Slurm and its commands take their time where others work, too
SOME = "w.lines(50); w.points(30); w.file('outputs/before', 70_000)\n"
MORE = "w.lines(50); w.points(30); w.file('outputs/after', 70_000)\n"
# A second attempt that finds what the first one has left; the witness speaks for the first alone.
ELSE = """
if os.environ["RUNYARD_RUN_ATTEMPT"] != "1":
    sys.exit("before" not in os.listdir(os.environ["RUNYARD_RESUME_DIR"]))
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmYard]:
    """A cluster that waits long for a silent node, and a workspace on it."""
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("RUNYARD_HOME", str(tmp_path_factory.mktemp("slurm")))
        with started_cluster(node_timeout_s=120, limits_memory=True) as cluster, cluster.inside():
            yard = SlurmYard(cluster, "chaos")
            asked = SlurmCompute.provisioning_configuration(partition="main", memory_mb=250, python=sys.executable)
            ComputeTarget.create(yard.workspace, "small", asked)
            yield yard
            yard.close()


@dataclass
class Case:
    """A run on the cluster and what it wrote."""

    yard: SlurmYard
    run: Run
    witness: Path
    release: Callable[[], None]

    @property
    def node(self) -> str:
        """The name of the node that it runs on."""
        shown = self.yard.cluster.call("squeue", "-h", "-t", "RUNNING", "--name", f"{self.run.id}.1", "-o", "%N")
        return shown.strip()

    def kill(self, is_it: Callable[[list[str]], bool]) -> None:
        """``kill -9`` of the one process of the run whose command line is so."""
        (victim,) = [pid for pid in self.left() if is_it(processes.command_of(pid))]
        os.kill(victim, signal.SIGKILL)

    def left(self) -> list[int]:
        """Processes that carry the run's mark."""
        found = processes.all_processes()
        return [pid for pid in found if (processes.marker_in(pid) or "").startswith(self.run.id + "/")]


Hold = Callable[[SlurmYard, Path], Any]


def submitted(yard: SlurmYard, folder: Path, script: str, **config: Any) -> tuple[Run, Path]:
    witness = folder / "witness"
    witness.mkdir()
    head = f"import sys\nsys.path.insert(0, {str(JUDGE)!r})\n" + HEAD.format(str(witness))
    return yard.submit(folder / "source", head + script, environment(None), **config), witness


@contextmanager
def queued(yard: SlurmYard, folder: Path, **config: Any) -> Iterator[Case]:
    holder = yard.cluster.call("sbatch", "--parsable", "-N3", "--exclusive", "--output=/dev/null", "--wrap=sleep 600")
    run, witness = submitted(yard, folder, SOME + MORE, **config)
    yard.until(lambda: "(Resources)" in yard.why(run) or "(Priority)" in yard.why(run), "a run in Slurm's queue")
    yield Case(yard, run, witness, lambda: yard.cluster.call("scancel", holder.strip()) and None)


@contextmanager
def running(yard: SlurmYard, folder: Path, script: str = SOME + "w.wait('here')\n" + MORE, **config: Any) -> Any:
    run, witness = submitted(yard, folder, script, **config)
    gate = Gate(witness, "here")
    gate.reached(WITHIN_S)
    yard.until(lambda: run.get_status() == "Running", "a run in Running")  # it is seen by the next look at Slurm
    yield Case(yard, run, witness, gate.open)


@contextmanager
def finalizing(yard: SlurmYard, folder: Path, **config: Any) -> Iterator[Case]:
    with running(yard, folder, SOME + MORE + "w.wait('here')\n", **config) as case:
        place = Path(yard.folder, "runs", case.run.id, "attempt-1", "node-0", "code", "outputs", "after")
        with Hang(place) as disk:
            case.release()
            disk.reached()
            yard.until(lambda: case.run.get_status() == "Finalizing", "a run in Finalizing")
            yield Case(yard, case.run, case.witness, disk.release)


HOLDS: dict[str, Hold] = {"Queued": queued, "Running": running, "Finalizing": finalizing}


def in_status(fault: str, *statuses: str) -> Any:
    return pytest.mark.parametrize(
        "status",
        [pytest.param(status, marks=pytest.mark.chaos(fault, status), id=status) for status in statuses],
    )


def ends(case: Case, row: Row, status: str, code: str | None = None) -> dict[str, Any]:
    """The run has that end and cause, with all that its script wrote; nothing is left, and the next run works."""
    details = case.yard.end(case.run)
    assert details["status"] == status, details
    record = dict(case.run._refresh())
    assert (record["error"] or {}).get("code") == code, record["error"]
    row.seconds = None
    row.history = judge(case.run, case.witness)
    eventually(lambda: not case.left(), lambda: f"the end of {case.left()}")
    case.yard.cluster.clear()
    row.left = "nothing"
    following = case.yard.submit(case.witness / "next", "print(1)", environment(None))
    assert case.yard.end(following)["status"] == "Completed", case.yard.end(following)
    row.next_run = "works"
    return record


@in_status("Slurm: kill -9 of the node's slurmd, which is started again", "Queued", "Running", "Finalizing")
def test_a_run_does_not_notice_that_its_nodes_daemon_was_killed(
    slurm: SlurmYard, row: Row, tmp_path: Path, status: str
) -> None:
    with HOLDS[status](slurm, tmp_path) as case:
        name = case.node or "n1"
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
    with HOLDS[status](slurm, tmp_path) as case:
        slurm.kill_server()
        slurm.server = slurm.start_server()
        assert case.run.get_status() == status
        case.release()
        ends(case, row, "Completed")
        names = slurm.cluster.call("squeue", "-h", "-t", "all", "-o", "%j").split()
        assert names.count(f"{case.run.id}.1") == 1
    row.outcome = "goes on, Completed"


@pytest.mark.chaos("Slurm: kill -9 of a rank", "Running")
def test_a_rank_on_slurm_that_is_killed_is_the_cause(slurm: SlurmYard, row: Row, tmp_path: Path) -> None:
    with running(slurm, tmp_path) as case:
        case.kill(lambda command: "train.py" in command)
        ends(case, row, "Failed", "signaled")
    row.outcome = "Failed: rank 0 was ended by SIGKILL"


def is_the_job(command: list[str]) -> bool:
    return command[-2:] == ["-m", "runyard.job"]


@pytest.mark.chaos("Slurm: kill -9 of the job", "Running")
def test_a_job_on_slurm_that_is_killed_is_the_cause(slurm: SlurmYard, row: Row, tmp_path: Path) -> None:
    with running(slurm, tmp_path) as case:
        case.kill(is_the_job)
        ends(case, row, "Failed", "job_lost")
    row.outcome = "Failed: the job was ended by SIGKILL"


@pytest.mark.chaos("Slurm: kill -9 of the job of a run with a second attempt", "Running")
def test_a_job_on_slurm_that_is_killed_is_tried_again(slurm: SlurmYard, row: Row, tmp_path: Path) -> None:
    with running(slurm, tmp_path, ELSE + SOME + "w.wait('here')\n", max_attempts=2) as case:
        case.kill(is_the_job)
        record = ends(case, row, "Completed")
    assert [each["reason"] for each in record["attempts"]] == ["job_lost"]
    row.outcome = "Completed, in its second attempt"


@pytest.mark.chaos("Slurm: kill -9 of the job", "Finalizing")
def test_what_a_job_on_slurm_did_not_collect_is_collected(slurm: SlurmYard, row: Row, tmp_path: Path) -> None:
    with finalizing(slurm, tmp_path) as case:
        case.kill(is_the_job)
        case.release()
        ends(case, row, "Completed")
    row.outcome = "collected by another job, Completed"


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
        urgent = ["sbatch", "--partition=urgent", f"--nodelist={case.node}", "--exclusive", "--output=/dev/null"]
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
    def status() -> str:
        with sqlite3.connect(f"file:{slurm.folder}/records.db?mode=ro", uri=True, timeout=30) as records:
            ((found,),) = records.execute("select status from runs where id = ?", (case.run.id,))
        return str(found)

    with running(slurm, tmp_path, SOME + "w.wait('here')\n" + MORE + "w.wait('there')\n") as case:
        with slurm.cluster.cut_off(8000):
            case.release()  # it goes on as if nothing was the matter
            eventually(lambda: status() == "NotResponding", "a run that does not respond", WITHIN_S)
        slurm.until(lambda: case.run.get_status() == "Running", "a run that is heard of again")
        Gate(case.witness, "there").open()
        ends(case, row, "Completed")
    story = [event["to_status"] for event in case.run._call("GET", "events")]
    assert story[-5:-1] == ["Running", "NotResponding", "Running", "Finalizing"]
    row.outcome = "NotResponding, then Running, then Completed"
