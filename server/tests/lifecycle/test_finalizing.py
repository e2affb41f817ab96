"""Finalizing: a run ends when nothing more can come, with everything that came."""

from pathlib import Path

import pytest

from runyard.protocol.status import Reason, RunStatus
from runyard_server.domain.supervision import MAX_SALVAGES
from runyard_server.lifecycle.nodes import SALVAGE_LOG
from runyard_server.testing.played_jobs import Fate, Play
from runyard_server.testing.yard import Yard


def finalizing(yard: Yard, *plays: Play) -> str:
    """The id of a run of one node, whose jobs do these things one after the other."""
    run_id = yard.running(plays[0])
    yard.plays = {0: list(plays)}
    yard.until(lambda: yard.run(run_id).status is RunStatus.FINALIZING)
    return run_id


def test_what_a_lost_job_left_is_collected_by_another(yard: Yard) -> None:
    run_id = yard.running(Play(lines=None))
    lost = yard.jobs(run_id)[0]
    lost.disk.log += b"written, and not shipped\n"
    lost.job.kill()
    yard.until(yard.has_ended(run_id))
    run = yard.run(run_id)
    assert (run.status, run.reason) == (RunStatus.FAILED, Reason.JOB_LOST)
    assert yard.server.files.open(run_id, lost.log_name).location.read_bytes() == lost.disk.log
    assert [job.assignment.salvage for job in yard.engine.jobs] == [0, 1]
    assert not (yard.home / "runs" / run_id).exists()


def test_a_job_lost_while_it_collects_does_not_spoil_a_run_whose_script_went_well(yard: Yard) -> None:
    run_id = finalizing(yard, Play(fate=Fate.DIES_COLLECTING), Play())
    yard.until(yard.has_ended(run_id))
    assert yard.run(run_id).status is RunStatus.COMPLETED
    assert yard.server.verification.verify(run_id)["ok"]


def test_a_node_is_given_up_after_three_salvages_and_says_where_its_files_are(yard: Yard) -> None:
    run_id = finalizing(yard, Play(fate=Fate.DIES_COLLECTING))
    yard.until(yard.has_ended(run_id))
    run = yard.run(run_id)
    assert (run.status, run.reason) == (RunStatus.FAILED, Reason.COLLECTION_FAILED)
    assert run.error is not None and f"{MAX_SALVAGES} further jobs" in run.error.message
    assert [job.assignment.salvage for job in yard.engine.jobs] == [0, 1, 2, 3]
    (warning,) = run.warnings
    assert Path(warning.rpartition(": ")[2]).is_dir()
    yard.restart()  # a server that starts clears away what ended runs have left, but not this
    assert Path(warning.rpartition(": ")[2]).is_dir()


def test_a_salvage_that_cannot_be_started_is_told_in_the_log(yard: Yard) -> None:
    run_id = yard.running(Play(lines=None))
    yard.engine.refuses[0] = "no more processes"
    yard.engine.jobs[0].kill()
    yard.until(yard.has_ended(run_id))
    run = yard.run(run_id)
    assert (run.status, run.reason) == (RunStatus.FAILED, Reason.JOB_LOST)
    log = yard.server.files.open(run_id, SALVAGE_LOG).location.read_text()
    assert log.count("no more processes") == 1


def test_a_salvage_needs_neither_the_interpreter_nor_the_environment(yard: Yard, tmp_path: Path) -> None:
    import sys
    from dataclasses import replace

    from runyard_server.testing.run_server import THIS_PYTHON

    interpreter = tmp_path / "python"
    interpreter.symlink_to(sys.executable)
    run_id = yard.running(Play(lines=None), environment=replace(THIS_PYTHON, interpreter=str(interpreter)))
    interpreter.unlink()
    yard.engine.jobs[0].kill()
    yard.until(yard.has_ended(run_id))
    assert yard.server.verification.verify(run_id)["ok"]
    assert yard.run(run_id).warnings == []


@pytest.mark.parametrize("is_salvage", [False, True])
def test_a_late_report_of_a_job_that_was_given_up_changes_nothing(yard: Yard, is_salvage: bool) -> None:
    run_id = yard.running(Play(lines=None))
    lost = yard.jobs(run_id)[0]
    lost.job.kill()
    yard.until(lambda: len(yard.jobs(run_id)) == 2 and yard.jobs(run_id)[1].phase == "collecting")
    yard.until(lambda: yard.jobs(run_id)[1].is_told)
    late = yard.jobs(run_id)[is_salvage].said[0]
    before = yard.server.runs.jobs(run_id)[0].report
    yard.server.runs.report(run_id, late)
    assert yard.server.runs.jobs(run_id)[0].report == before


def test_passes_that_repeat_start_no_second_salvage(yard: Yard) -> None:
    run_id = yard.running(Play(lines=None))
    yard.engine.jobs[0].kill()
    yard.looks(20)
    assert [job.assignment.salvage for job in yard.engine.jobs] == [0, 1]
    assert yard.run(run_id).status is RunStatus.FINALIZING


def test_an_engine_that_is_away_delays_a_salvage_and_uses_none_up(yard: Yard) -> None:
    run_id = yard.running(Play(lines=None))
    yard.engine.jobs[0].kill()
    yard.looks(1)

    def goes_away() -> None:
        yard.engine.away = ConnectionError("no route to the engine")

    yard.engine.on_look = goes_away  # it answers the look, and nothing after that
    for _ in range(5):
        yard.engine.away = None
        yard.looks(1)
    assert yard.run(run_id).status is RunStatus.FINALIZING
    yard.engine.on_look = lambda: None
    yard.engine.away = None
    yard.until(yard.has_ended(run_id))
    assert yard.server.verification.verify(run_id)["ok"] and yard.run(run_id).warnings == []
