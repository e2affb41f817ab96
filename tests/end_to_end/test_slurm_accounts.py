"""Runs on a real Slurm that keeps accounts and enforces them: account and QoS, their limits, and jobs that are forgotten."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runyard import ComputeTarget, Environment, SlurmCompute
from runyard.errors import ComputeTargetException
from runyard.run import Run
from runyard_server.testing.slurm_cluster import started_cluster
from runyard_server.testing.slurm_yard import SlurmYard
from tests.end_to_end.waiting import WAITS_FOR_GO

pytestmark = pytest.mark.slurm

ACCOUNTS = (
    "add qos one MaxJobsPerUser=1",
    "add qos few MaxSubmitJobsPerUser=1",
    "add qos brief MaxWall=1",
    "add account vision",
    "add user root account=vision qos=normal,one,few,brief",
)
Submit = Callable[..., Run]


@pytest.fixture(scope="module")
def yard(runyard_home: Path) -> Iterator[SlurmYard]:
    """A cluster with accounts, whose controller soon forgets a job that has ended."""
    with started_cluster(nodes=2, forgotten_after_s=2, accounts=ACCOUNTS) as cluster, cluster.inside():
        yard = SlurmYard(cluster, "with-accounts")
        yield yard
        yard.close()


@pytest.fixture
def submit(yard: SlurmYard, this_python: Environment, tmp_path: Path) -> Iterator[Submit]:
    """Submits a script to a compute target with an account and a QoS; what is left of its runs is cancelled."""
    with yard.submitting(tmp_path, this_python) as submit:
        yield lambda target, text=WAITS_FOR_GO: submit(text, compute_target=target)


def target(yard: SlurmYard, name: str, **options: Any) -> str:
    asked = {"partition": "main", "cpus_per_node": 1, "python": sys.executable, **options}
    ComputeTarget.create(yard.workspace, name, SlurmCompute.provisioning_configuration(**asked))
    return name


def let_go(yard: SlurmYard, run: Run) -> None:
    """Lets a script that waits end well."""
    (attempt,) = Path(yard.folder, "runs", run.id).iterdir()
    (attempt / "go").touch()


def until_begun(yard: SlurmYard, run: Run) -> None:
    yard.until(lambda: "up" in yard.log(run, "azureml-logs/70_driver_log.txt"), f"the script of {run.id}")


def until_waiting_for(yard: SlurmYard, run: Run, words: str) -> None:
    yard.until(lambda: words in yard.why(run), f"{words!r}; the last word was {yard.why(run)!r}")
    assert run.get_status() == "Queued"


def told_by_sacct(yard: SlurmYard, run: Run, fields: str) -> str:
    asked = ["sacct", "--noheader", "--parsable2", "--allocations", f"--name={run.id}.1", f"--format={fields}"]
    return yard.cluster.call(*asked).strip()


def test_a_run_is_put_on_the_account_and_the_qos_of_its_target(yard: SlurmYard, submit: Submit) -> None:
    run = submit(target(yard, "vision", account="vision", qos="one"), "print('trained')")
    assert yard.end(run)["status"] == "Completed", yard.end(run)
    on_account = "vision|one|COMPLETED"
    yard.until(lambda: told_by_sacct(yard, run, "Account,QOS,State") == on_account, f"{on_account} of sacct")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"account": "nope"},
            "Slurm would refuse the target's jobs: Invalid account or account/partition combination specified. "
            "Correct account=... of the compute target; root may use account root with QoS normal; "
            "account vision with QoS brief,few,normal,one.",
        ),
        (
            {"account": "vision", "qos": "nope"},
            "Slurm would refuse the target's jobs: Invalid qos specification. Correct qos=... of the compute target; "
            "root may use account root with QoS normal; ",
        ),
        ({"qos": "one"}, "Invalid qos specification"),  # not one of the account that is root's default
        ({"constraint": "fast"}, "Invalid feature specification. Correct constraint=... of the compute target."),
        ({"reservation": "night"}, "reservation is invalid. Correct reservation=... of the compute target."),
    ],
)
def test_a_target_whose_jobs_slurm_would_refuse_is_refused_with_what_may_be_asked(
    yard: SlurmYard, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ComputeTargetException, match=re.escape(words)):
        target(yard, "refused", **options)


def test_a_run_whose_account_was_closed_since_says_which_there_are(yard: SlurmYard, submit: Submit) -> None:
    yard.cluster.call("sacctmgr", "--immediate", "add", "account", "closing")
    yard.cluster.call("sacctmgr", "--immediate", "add", "user", "root", "account=closing")
    closing = target(yard, "closing", account="closing")
    yard.cluster.call("sacctmgr", "--immediate", "delete", "user", "root", "account=closing")
    error = yard.error(submit(closing))
    assert error["code"] == "start_failed"
    assert error["message"].startswith("Slurm refused the job: Batch job submission failed: Invalid account")
    assert "Correct account=... of the compute target; root may use account root with QoS normal; " in error["message"]


def test_a_run_that_a_limit_of_its_qos_holds_says_so_and_goes_on_when_another_ends(
    yard: SlurmYard, submit: Submit
) -> None:
    one = target(yard, "one", account="vision", qos="one")
    first = submit(one)
    until_begun(yard, first)
    second = submit(one, "print('trained')")
    until_waiting_for(yard, second, "waits until a limit of its QoS allows it (QOSMaxJobsPerUserLimit)")
    let_go(yard, first)
    for run in (first, second):
        assert yard.end(run)["status"] == "Completed", yard.end(run)


def test_a_run_that_asks_for_what_its_qos_never_gives_says_that_no_waiting_helps(
    yard: SlurmYard, submit: Submit
) -> None:
    run = submit(target(yard, "brief", account="vision", qos="brief", time_limit="0-1"))
    until_waiting_for(yard, run, "gives no single job: cancel the run")
    assert "(QOSMaxWallDurationPerJobLimit)" in yard.why(run)


def test_a_run_waits_while_a_limit_on_jobs_in_the_queue_keeps_it_out_of_slurm(yard: SlurmYard, submit: Submit) -> None:
    few = target(yard, "few", account="vision", qos="few")
    first = submit(few)
    until_begun(yard, first)
    second, third = submit(few, "print('trained')"), submit(target(yard, "elsewhere"), "print('trained')")
    until_waiting_for(yard, second, "takes no more jobs until some have ended (QOSMaxSubmitJobPerUserLimit)")
    assert yard.end(third)["status"] == "Completed", yard.end(third)  # which the limit is not about
    let_go(yard, first)
    for run in (first, second):
        assert yard.end(run)["status"] == "Completed", yard.end(run)


def test_what_the_controller_has_forgotten_is_told_by_the_accounts_once_they_are_there(
    yard: SlurmYard, submit: Submit
) -> None:
    one = target(yard, "one", account="vision", qos="one")
    first = submit(one)
    until_begun(yard, first)
    second = submit(one)
    until_waiting_for(yard, second, "(QOSMaxJobsPerUserLimit)")
    number = yard.cluster.call("squeue", "--noheader", f"--name={second.id}.1", "--format=%i").strip()
    yard.kill_server()
    yard.cluster.call("scancel", number)
    cancelled = "CANCELLED by 0"
    yard.until(lambda: told_by_sacct(yard, second, "State") == cancelled, "the accounts' word of the end")
    yard.until(
        lambda: number not in yard.cluster.call("squeue", "-h", "-t", "all", "-o", "%i").split(), "a forgotten job"
    )
    yard.cluster.stop_accounts()
    yard.server = yard.start_server()
    until_waiting_for(yard, second, "is with its engine, which does not answer now")
    let_go(yard, first)
    third = submit(target(yard, "elsewhere"), "print('trained')")
    for run in (first, third):
        assert yard.end(run)["status"] == "Completed", yard.end(run)
    until_waiting_for(yard, second, "is with its engine, which does not answer now")
    yard.cluster.start_accounts()
    error = yard.error(second)
    # Not what it had waited for, which sacct shows as its reason.
    assert (error["code"], error["message"]) == ("start_failed", f"Slurm's job {number} was cancelled ({cancelled}).")
