"""Running: what ends a run is seen with its cause, whatever is reported or not."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from runyard.job.processes import look_up, machine_name, start_ticks
from runyard.protocol.runs import ClientProcess, InteractiveRunSpec, RunError
from runyard.protocol.status import Reason, RunStatus
from runyard_server.domain.supervision import HEARTBEAT_LIMIT_S
from runyard_server.lifecycle.nodes import CLIENT_SILENCE_S, FIRMLY_AFTER_S
from runyard_server.testing.played_jobs import Play
from runyard_server.testing.yard import Yard

STAYS = Play(lines=None)


def test_a_script_that_ends_well_completes(yard: Yard) -> None:
    run_id = yard.running(Play(lines=2))
    yard.until(yard.has_ended(run_id))
    assert yard.reasons(run_id)[-2:] == ["script_ended", "outputs_collected"]
    assert yard.run(run_id).error is None


def test_a_script_that_fails_names_its_rank_and_exit_code(yard: Yard) -> None:
    run_id = yard.running(Play(lines=1, exit_code=7))
    yard.until(yard.has_ended(run_id))
    run = yard.run(run_id)
    assert (run.status, run.reason) == (RunStatus.FAILED, Reason.SCRIPT_FAILED)
    assert run.error is not None and (run.error.rank, run.error.exit_code) == (0, 7)


def test_a_script_that_a_signal_ends_says_which(yard: Yard) -> None:
    run_id = yard.running(STAYS)
    yard.jobs(run_id)[0].rank_dies("SIGSEGV")
    yard.until(yard.has_ended(run_id))
    run = yard.run(run_id)
    assert (run.status, run.reason) == (RunStatus.FAILED, Reason.SIGNALED)
    assert run.error is not None and run.error.signal == "SIGSEGV"


@pytest.mark.parametrize("how", ["kill", "lose", "exit"])
def test_a_job_that_is_gone_is_seen_at_the_next_look(yard: Yard, how: str) -> None:
    run_id = yard.running(STAYS)
    getattr(yard.engine.jobs[0], how)()
    yard.looks(1)
    run = yard.run(run_id)
    assert (run.status, run.reason) == (RunStatus.FINALIZING, Reason.JOB_LOST)
    assert run.error is not None and "node 0" in run.error.message


def test_an_error_that_the_script_told_comes_before_how_it_ended(yard: Yard) -> None:
    run_id = yard.running(Play(lines=2))
    yard.server.runs.fail(run_id, RunError(code="diverged", message="the loss is NaN"), f"run {run_id}")
    assert yard.run(run_id).status is RunStatus.RUNNING
    yard.until(yard.has_ended(run_id))
    run = yard.run(run_id)
    assert (run.status, run.reason) == (RunStatus.FAILED, Reason.ENDED_BY_CALLER)
    assert run.error is not None and run.error.message == "the loss is NaN"


def test_a_run_that_was_given_up_before_it_was_queued_fails_when_its_script_ends(yard: Yard) -> None:
    run_id = yard.submit()
    yard.server.runs.fail(run_id, RunError(code="mine", message="the wrong data"), "ann")
    yard.until(yard.has_ended(run_id))
    run = yard.run(run_id)
    assert (run.status, run.reason) == (RunStatus.FAILED, Reason.ENDED_BY_CALLER)
    assert run.error is not None and run.error.message == "the wrong data"


def test_one_nodes_failure_ends_the_gang_and_is_the_cause(yard: Yard) -> None:
    run_id = yard.running(STAYS, Play(lines=1, exit_code=3))
    yard.until(yard.has_ended(run_id))
    run = yard.run(run_id)
    assert run.status is RunStatus.FAILED
    assert run.error is not None and (run.error.rank, run.error.exit_code) == (1, 3)
    assert all(job.is_over for job in yard.engine.jobs)


def test_a_node_that_hangs_does_not_keep_a_broken_gang(yard: Yard) -> None:
    run_id = yard.running(STAYS, STAYS)
    hangs, fails = yard.jobs(run_id)
    hangs.hangs = True
    fails.rank_dies("SIGKILL")
    yard.until(lambda: fails.job.is_over)
    yard.looks(FIRMLY_AFTER_S - 5)
    assert not hangs.job.is_over and hangs.job.asked_to_end == 1
    yard.looks(10)
    assert hangs.job.is_over
    yard.until(yard.has_ended(run_id))
    run = yard.run(run_id)
    assert run.error is not None and (run.error.rank, run.error.signal) == (1, "SIGKILL")


def test_an_engine_that_is_away_hides_nothing_that_jobs_say(yard: Yard) -> None:
    run_id = yard.running(Play(lines=3))
    yard.engine.away = ConnectionError("no route to the engine")
    yard.until(yard.has_ended(run_id))
    assert yard.run(run_id).status is RunStatus.COMPLETED


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
def test_a_clock_that_is_set_makes_nobody_silent(yard: Yard, seconds: float) -> None:
    run_id = yard.running(STAYS)
    yard.clock.jump(seconds)
    yard.looks(HEARTBEAT_LIMIT_S - 5)
    assert yard.run(run_id).status is RunStatus.RUNNING
    yard.looks(10)
    assert yard.run(run_id).status is RunStatus.NOT_RESPONDING


# Interactive runs


def start(yard: Yard, process: ClientProcess | None) -> str:
    return yard.server.runs.start_interactive(InteractiveRunSpec("tests", process=process), "ann").id


@pytest.fixture
def client() -> Callable[[], "subprocess.Popen[bytes]"]:
    """Starts a process that stays until its input closes; the kernel's process table is what is asked."""
    started = []

    def start() -> "subprocess.Popen[bytes]":
        started.append(subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE))
        return started[-1]

    yield start  # type: ignore[misc]
    for process in started:
        process.communicate()


def test_a_client_on_this_machine_is_missed_at_the_next_look_though_nobody_reaped_it(yard: Yard, client) -> None:  # type: ignore[no-untyped-def]
    process = client()
    ticks = start_ticks(process.pid)
    assert ticks is not None
    run_id = start(yard, ClientProcess(process.pid, ticks, machine_name()))
    yard.looks(CLIENT_SILENCE_S + 5)
    assert yard.run(run_id).status is RunStatus.RUNNING  # it lives, and need not say so
    process.stdin.close()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended; its parent has not asked how
    found = look_up(process.pid)
    assert found is not None and not found.is_alive
    yard.looks(1)
    run = yard.run(run_id)
    assert (run.status, run.reason) == (RunStatus.FAILED, Reason.CLIENT_LOST)
    assert run.error is not None and str(process.pid) in run.error.message


def test_a_pid_that_came_again_is_another_client(yard: Yard) -> None:
    ticks = start_ticks(os.getpid())
    assert ticks is not None
    run_id = start(yard, ClientProcess(os.getpid(), ticks - 1, machine_name()))
    yard.looks(1)
    assert yard.run(run_id).reason == Reason.CLIENT_LOST


@pytest.mark.parametrize("process", [None, ClientProcess(1, 1, "another machine")])
def test_a_client_elsewhere_is_lost_when_nothing_was_heard_of_it(yard: Yard, process: ClientProcess | None) -> None:
    run_id = start(yard, process)
    for jump in (3600.0, -7200.0, 3600.0):
        yard.looks(CLIENT_SILENCE_S - 5)
        yard.clock.jump(jump)  # the server's clock is set; a heartbeat is a heartbeat
        yard.server.runs.heartbeat(run_id)
    yard.looks(CLIENT_SILENCE_S - 5)
    assert yard.run(run_id).status is RunStatus.RUNNING
    yard.restart()  # whoever looks anew has heard nothing yet
    yard.looks(CLIENT_SILENCE_S - 5)
    assert yard.run(run_id).status is RunStatus.RUNNING
    yard.looks(10)
    run = yard.run(run_id)
    assert (run.status, run.reason) == (RunStatus.FAILED, Reason.CLIENT_LOST)
